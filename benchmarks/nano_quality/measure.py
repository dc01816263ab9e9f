"""All figures of one photograph."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from . import edges, layers, looks, moves, rubber
from .checkpoint import SEED, Clip, Nano, still_of
from .labels import Labels, inner, mask, outside
from .tracks import Frames, Similarity, camera, track

OWN = 127
"""The request's own motion."""
MOTIONS = (30, 60, 127, 200, 255)
STIRRED = 200
BENT = (127, 255)


@dataclass
class Measured:
    """Figures by name, one per clip they were taken of; ``strip`` is the still and its fastest clip, for the sheet."""

    name: str
    deep: bool
    stirs: bool
    figures: dict[str, list[float]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    ends: list[Similarity] = field(default_factory=list)
    strip: list[Frames] = field(default_factory=list)

    def note(self, name: str, value: float | None) -> None:
        if value is not None:
            self.figures.setdefault(name, []).append(value)

    @property
    def summary(self) -> str:
        """Means, to watch a run by."""
        return "  ".join(f"{name} {np.mean(values):.2f}" for name, values in self.figures.items())


@dataclass(frozen=True)
class Picture:
    """A photograph cut to the frame, with what is known of it."""

    still: Frames
    labels: Labels
    photo: tuple[int, int]

    @classmethod
    def open(cls, path: Path, size: tuple[int, int], labels: Labels) -> Picture:
        return cls(still_of(path, size), labels, cv2.imread(str(path)).shape[:2])  # type: ignore[union-attr]

    def parallax(self, frames: Frames) -> float | None:
        size = self.still.shape[:2]
        near, far = (inner(mask(part, self.photo, size)) for part in (self.labels.near, self.labels.far))
        return layers.parallax(frames, near, far)

    def stir(self, frames: Frames) -> layers.Stir | None:
        stirring = mask(self.labels.stirring, self.photo, self.still.shape[:2])
        return layers.stir(frames, inner(stirring), outside(stirring))


def measure(nano: Nano, path: Path, labels: Labels, seeds: int, index: int) -> Measured:
    """``seeds`` clips with nothing asked for, and one, seed ``SEED + index``, at every motion and at twice the rate."""
    picture = Picture.open(path, nano.size, labels)
    one = Measured(path.stem, labels.deep, bool(labels.stirring))
    for seed in range(SEED, SEED + seeds):
        began = time.monotonic()
        clip = nano.animate(picture.still, seed)
        one.note("seconds", time.monotonic() - began)
        one.note("beyond", edges.beyond(nano, clip))
        _own(one, picture, clip)
    clips = {motion: nano.animate(picture.still, SEED + index, motion_bucket_id=motion) for motion in MOTIONS}
    for motion, clip in clips.items():
        _at_motion(one, motion, clip)
    _stirred(one, picture, clips[STIRRED])
    quick = nano.animate(picture.still, SEED + index, fps=2 * nano.runtime.row.fps)
    one.note("path at twice the rate", moves.path(track(quick.frames)))
    fast = clips[MOTIONS[-1]].frames
    one.strip = [picture.still, *fast[np.linspace(0, len(fast) - 1, 4).round().astype(int)]]
    return one


def _own(one: Measured, picture: Picture, clip: Clip) -> None:
    """What is seen in a clip with nothing asked for."""
    tracks = track(clip.compared)
    kind, end = moves.kind(tracks), camera(tracks)
    one.kinds.append(kind)
    one.ends.append(end)
    one.note("path", moves.path(tracks))
    one.note("first", looks.psnr(clip.frames[0], picture.still))
    if kind.startswith(("pan", "tilt")):
        one.note("level", float(abs(np.degrees(end.roll))))
    if kind != moves.STANDS and not moves.orbits(tracks):
        taken = moves.steps(track(clip.frames))
        one.note("jump", float(taken.max() / max(np.median(taken), 1e-6)))
        begins, ends = moves.eases(taken)
        one.note("begins", begins)
        one.note("ends", ends)
    if picture.labels.deep:
        one.note("parallax", picture.parallax(clip.compared))


def _at_motion(one: Measured, motion: int, clip: Clip) -> None:
    frames = clip.compared
    tracks = track(frames)
    one.note(f"path at {motion}", moves.path(tracks))
    if motion in BENT:
        one.note(f"rubber at {motion}", rubber.rubber(tracks))
        one.note(f"bend at {motion}", rubber.bend(frames))
    if motion == MOTIONS[-1]:
        one.note("incoherence", looks.incoherence(frames))
        one.note("sharpness", looks.sharpness(frames[-1]) / looks.sharpness(frames[0]))


def _stirred(one: Measured, picture: Picture, clip: Clip) -> None:
    if one.stirs:
        found = picture.stir(clip.compared)
        one.note("stir", found and found.inside)
        one.note("stir outside", found and found.outside)
