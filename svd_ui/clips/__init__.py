"""A folder of clips => what can be trained on: cut into scenes, static stretches dropped, motion labelled. No torch.

``scan`` looks through a folder; below it are the three measures it uses: where a clip cuts to another scene, how much
moves between cuts, and the label 1..255 that this motion gets among those of its training set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BadClip, BadInput
from ..notes import Note, sentence
from ..request import Frozen
from .decoding import ClipSource, Frame, find_sources, frames

__all__ = ["Dropped", "Scan", "Stretch", "read", "scan"]

MAX_FRAMES_PER_SOURCE = 10_000
BINS = 16
"""Of the histogram of motion labels."""
SMALL = 16
"""Pixels along a side of the thumbnails in which cuts are looked for."""
CUT_LEVEL, CUT_RATIO = 0.06, 3.0
_NEAR = 4
"""Frames on either side that tell which change is usual there."""
LOOKING_SIDE = 96
"""Pixels along the longer side at which scenes and motion are looked for: every frame of a source fits in memory."""
FPS_RANGE = (5.0, 30.0)
"""What Stable Video Diffusion was told during training; a faster clip is thinned to come into it."""


class Stretch(Frozen):
    """Frames ``first``, ``first + stride``, ... of one source: one training clip.

    ``fps`` is that of the thinned clip, ``score`` its motion (``motion_score``), ``motion_bucket_id`` its label.
    """

    source: Path
    name: str
    kind: str
    first: int
    stride: int
    num_frames: int
    fps: float
    score: float
    motion_bucket_id: int = 0


class Dropped(Frozen):
    """What was left out, and why; a sentence that begins with the name goes on with it."""

    name: str
    reason: Note


class Scan(Frozen):
    """What a folder holds for training. ``histogram`` counts the motion labels in equal parts of 1..255."""

    stretches: tuple[Stretch, ...]
    dropped: tuple[Dropped, ...]
    sources: int
    scenes: int
    histogram: tuple[int, ...]


def scan(
    folder: Path,
    *,
    width: int,
    height: int,
    num_frames: int,
    fps: float = 7.0,
    static_below: float = 0.01,
    progress: Callable[[str], object] = lambda name: None,
) -> Scan:
    """Look through every clip of ``folder``: scenes, stretches of ``num_frames``, motion, labels.

    ``width`` and ``height`` give the aspect of the crop. ``fps`` is taken for folders of pictures. ``progress`` hears each source's name. Raises BadInput(field="data")
    where nothing is left to train on, with the commonest reason.
    """
    kept: list[Stretch] = []
    dropped: list[Dropped] = []
    count = scenes = 0
    small = _small(width, height)
    for source in find_sources(folder):
        count += 1
        if isinstance(source, BadClip):
            dropped.append(_unreadable(source))
            continue
        progress(source.name)
        try:
            found, left_out, cuts_found = _stretches(source, small, num_frames, fps, static_below)
        except BadClip as error:
            dropped.append(_unreadable(error))
            continue
        kept += found
        dropped += left_out
        scenes += cuts_found
    if not kept:
        raise BadInput(_nothing(dropped), field="data")
    labels = buckets([one.score for one in kept])
    named = (one.model_copy(update={"motion_bucket_id": label}) for one, label in zip(kept, labels, strict=True))
    return Scan(
        stretches=tuple(named),
        dropped=tuple(dropped),
        sources=count,
        scenes=scenes,
        histogram=tuple(histogram(labels)),
    )


def read(stretch: Stretch, width: int, height: int) -> NDArray[np.uint8]:
    """The frames of one stretch, ``[F H W 3]``. Raises BadInput(field="data") where the source has changed since."""
    source = ClipSource(stretch.source, stretch.kind, stretch.fps)
    last = stretch.first + stretch.stride * (stretch.num_frames - 1)
    wanted = []
    for index, frame in enumerate(frames(source, width, height)):
        if index >= stretch.first and (index - stretch.first) % stretch.stride == 0:
            wanted.append(frame)
        if index == last:
            return np.stack(wanted)
    raise BadInput(f"{stretch.name} is shorter than it was: check the clips again.", field="data")


def _stretches(
    source: ClipSource, size: tuple[int, int], num_frames: int, fps: float, static_below: float
) -> tuple[list[Stretch], list[Dropped], int]:
    """(kept, left out, scenes) of one source."""
    rate = source.fps or fps
    stride = max(1, int(np.ceil(rate / FPS_RANGE[1] - 1e-6)))
    kept: list[Stretch] = []
    dropped: list[Dropped] = []
    scenes = 0
    for first, scene in _scenes(source, size, dropped):
        scenes += 1
        span = stride * (num_frames - 1) + 1
        if len(scene) < span:
            why = Note.of("scene_too_short", first=first, num_frames=len(scene), needed=span)
            dropped.append(Dropped(name=source.name, reason=why))
        for offset in range(0, len(scene) - span + 1, span):
            score = motion_score(np.stack(scene[offset : offset + span : stride]))
            if score < static_below:
                why = Note.of("nothing_moves", first=first + offset, motion=score, needed=static_below)
                dropped.append(Dropped(name=source.name, reason=why))
                continue
            kept.append(
                Stretch(
                    source=source.path,
                    name=source.name,
                    kind=source.kind,
                    first=first + offset,
                    stride=stride,
                    num_frames=num_frames,
                    fps=rate / stride,
                    score=score,
                )
            )
    return kept, dropped, scenes


def _scenes(source: ClipSource, size: tuple[int, int], dropped: list[Dropped]) -> Iterator[tuple[int, list[Frame]]]:
    """(index of its first frame, small frames) of each scene."""
    pictures: list[Frame] = []
    for frame in frames(source, *size):
        if len(pictures) == MAX_FRAMES_PER_SOURCE:
            why = Note.of("only_first_frames", most=MAX_FRAMES_PER_SOURCE)
            dropped.append(Dropped(name=source.name, reason=why))
            break
        pictures.append(frame)
    starts = cuts([thumbnail(picture) for picture in pictures])
    for first, end in zip(starts, [*starts[1:], len(pictures)], strict=True):
        yield first, pictures[first:end]


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LOOKING_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _unreadable(error: BadClip) -> Dropped:
    return Dropped(name=error.params["name"], reason=Note.of("text", text=error.params["detail"]))


def _nothing(dropped: list[Dropped]) -> str:
    if not dropped:
        return (
            "The folder has no clips: add mp4, mov, webm, mkv, avi, gif or webp files, or folders of numbered pictures."
        )
    return f"None of the clips can be used for training. The first: {dropped[0].name}: {sentence(dropped[0].reason)}"


def buckets(scores: Sequence[float]) -> list[int]:
    """``motion_bucket_id`` of each clip: its share in the set's distribution of motion scores, spread over 1..255.

    Thresholds follow the data, so every part of the dial is trained whatever the set is like; equal scores get
    equal labels, and a set of one clip gets the middle.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return []
    below = (values[:, None] > values[None]).sum(axis=1)
    equal = (values[:, None] == values[None]).sum(axis=1)
    share = (below + (equal - 1) / 2) / max(len(values) - 1, 1)
    if len(values) == 1:
        share = np.array([0.5])
    return [round(1 + 254 * float(one)) for one in share]


def histogram(labels: Sequence[int]) -> list[int]:
    """How many labels fall into each of ``BINS`` equal parts of 1..255."""
    counts, _ = np.histogram(list(labels), bins=BINS, range=(1, 256))
    return [int(count) for count in counts]


def thumbnail(frame: Frame) -> NDArray[np.float32]:
    """``[H W 3]`` => ``[SMALL SMALL 3]`` means in 0..1: enough to tell scenes apart, blind to grain."""
    h, w = frame.shape[:2]
    rows = np.linspace(0, h, SMALL + 1).astype(int)[:-1]
    columns = np.linspace(0, w, SMALL + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(frame.astype(np.float32), rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, h]), np.diff([*columns, w]))[..., None]
    return np.asarray(sums / areas / 255.0, dtype=np.float32)


def cuts(thumbnails: list[NDArray[np.float32]]) -> list[int]:
    """Indices of frames that begin a new scene; 0 is always one.

    A cut is a change that is large by itself and several times the usual change around it, so that neither
    a fast pan (large everywhere) nor a flicker of grain (small) counts.
    """
    if len(thumbnails) < 2:
        return [0]
    changes = np.array([np.abs(b - a).mean() for a, b in pairwise(thumbnails)])
    return [0, *(index + 1 for index, change in enumerate(changes) if _is_cut(changes, index, float(change)))]


def _is_cut(changes: NDArray[np.floating], index: int, change: float) -> bool:
    around = np.delete(changes[max(0, index - _NEAR) : index + _NEAR + 1], min(index, _NEAR))
    usual = float(np.median(around)) if len(around) else 0.0
    return change > CUT_LEVEL and change > CUT_RATIO * usual


def motion_score(frames: NDArray[np.uint8]) -> float:
    """Mean over pixels of the standard deviation in time of frames ``[F H W 3]`` taken to [-1, 1].

    0 for a still; about 0.02 for a calm clip. What motion labels are made of (``buckets``).
    """
    levels = frames.astype(np.float32) / 127.5 - 1
    return float(levels.std(axis=0).mean())
