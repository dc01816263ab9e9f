"""A folder of clips => what can be trained on: cut into scenes, static stretches dropped, motion labelled. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..request import Frozen
from .decoding import Frame, Source, find_sources, frames
from .labels import buckets, histogram
from .scenes import cuts, motion_score, thumbnail

__all__ = ["Dropped", "Scan", "Stretch", "read", "scan"]

MAX_FRAMES_PER_SOURCE = 10_000
LOOKING_SIDE = 96
"""Pixels along the longer side at which scenes and motion are looked for: every frame of a source fits in memory."""
FPS_RANGE = (5.0, 30.0)
"""What Stable Video Diffusion was told during training; a faster clip is thinned to come into it."""


class Stretch(Frozen):
    """Frames ``first``, ``first + stride``, ... of one source: one training clip.

    ``fps`` is that of the thinned clip, ``score`` its motion (``scenes.motion_score``), ``motion_bucket_id`` its label.
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
    """What was left out, and why, in words."""

    name: str
    reason: str


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
        if isinstance(source, BadInput):
            dropped.append(Dropped(name=source.message.split(" ")[0], reason=source.message))
            continue
        progress(source.name)
        try:
            found, left_out, cuts_found = _stretches(source, small, num_frames, fps, static_below)
        except BadInput as error:
            dropped.append(Dropped(name=source.name, reason=error.message))
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
    source = Source(stretch.source, stretch.kind, stretch.fps)
    last = stretch.first + stretch.stride * (stretch.num_frames - 1)
    wanted = []
    for index, frame in enumerate(frames(source, width, height)):
        if index >= stretch.first and (index - stretch.first) % stretch.stride == 0:
            wanted.append(frame)
        if index == last:
            return np.stack(wanted)
    raise BadInput(f"{stretch.name} is shorter than it was: look through the clips again.", field="data")


def _stretches(
    source: Source, size: tuple[int, int], num_frames: int, fps: float, static_below: float
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
            text = f"the scene from frame {first} has {len(scene)} frames, {span} are needed"
            dropped.append(Dropped(name=source.name, reason=text))
        for offset in range(0, len(scene) - span + 1, span):
            score = motion_score(np.stack(scene[offset : offset + span : stride]))
            if score < static_below:
                text = f"nothing moves from frame {first + offset} (motion {score:.3f}, {static_below:g} is needed)"
                dropped.append(Dropped(name=source.name, reason=text))
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


def _scenes(source: Source, size: tuple[int, int], dropped: list[Dropped]) -> Iterator[tuple[int, list[Frame]]]:
    """(index of its first frame, small frames) of each scene."""
    pictures: list[Frame] = []
    for frame in frames(source, *size):
        if len(pictures) == MAX_FRAMES_PER_SOURCE:
            text = f"only its first {MAX_FRAMES_PER_SOURCE} frames are used: cut it into parts"
            dropped.append(Dropped(name=source.name, reason=text))
            break
        pictures.append(frame)
    starts = cuts([thumbnail(picture) for picture in pictures])
    for first, end in zip(starts, [*starts[1:], len(pictures)], strict=True):
        yield first, pictures[first:end]


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LOOKING_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _nothing(dropped: list[Dropped]) -> str:
    if not dropped:
        return "The folder holds no clips: add mp4, webm, gif or webp files, or folders of numbered pictures."
    return f"None of the clips can be trained on. The first: {dropped[0].name}: {dropped[0].reason}"
