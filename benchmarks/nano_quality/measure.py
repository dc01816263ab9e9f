"""All figures of one photograph."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import edges, layers, looks, moves, rendering, rubber
from .checkpoint import SEED, Clip, Nano, Photo
from .labels import Labels, Mask, Polygon, inner, mask, outside
from .tracks import Frames, Similarity, camera, track

OWN = 127
"""The request's own motion."""
MOTIONS = (30, 60, 127, 200, 255)
STIRRED, STIR_SEEDS = 200, 3
"""What drifts the way the camera goes is not told from it: one seed would decide."""
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
class Labelled:
    """A photograph, with what is known of it."""

    photo: Photo
    labels: Labels

    def area(self, polygons: Sequence[Polygon]) -> Mask:
        return mask(polygons, self.photo.shape, self.photo.still.shape[:2])

    def parallax(self, frames: Frames) -> float | None:
        return layers.parallax(frames, *(inner(self.area(part)) for part in (self.labels.near, self.labels.far)))

    def stir(self, frames: Frames) -> layers.Stir | None:
        stirring = self.area(self.labels.stirring)
        return layers.stir(frames, inner(stirring), outside(stirring))


def measure(nano: Nano, path: Path, labels: Labels, seeds: int, index: int) -> Measured:
    """``seeds`` clips with nothing asked for, and some from seed ``SEED + index`` on at every motion and at twice the rate."""
    labelled = Labelled(Photo.open(path, nano.size), labels)
    photo = labelled.photo
    one = Measured(path.stem, labels.deep, bool(labels.stirring))
    for seed in range(
        SEED + index * seeds, SEED + (index + 1) * seeds
    ):  # no other photograph's: a seed decides the move
        began = time.monotonic()
        clip = nano.animate(photo, seed)
        one.note("seconds", time.monotonic() - began)
        _edges(one, edges.edges(nano, photo, clip))
        _own(one, labelled, clip)
    for motion in MOTIONS:
        clip = nano.animate(photo, SEED + index, motion_bucket_id=motion)
        _at_motion(one, motion, clip)
        if motion == OWN:
            one.note("between", rendering.between_keys(nano, photo, clip))
            one.note("other size", rendering.other_size(nano, photo, clip))
    fast = clip.frames
    if one.stirs:
        for seed in range(SEED + index, SEED + index + STIR_SEEDS):
            _stirred(one, labelled, nano.animate(photo, seed, motion_bucket_id=STIRRED))
    quick = nano.animate(photo, SEED + index, fps=2 * nano.runtime.row.fps)
    one.note("path at twice the rate", moves.path(track(quick.compared)))
    one.strip = [photo.still, *fast[np.linspace(0, len(fast) - 1, 4).round().astype(int)]]
    return one


def _edges(one: Measured, found: edges.Edges) -> None:
    one.note("outside the still", found.still)
    one.note("painted", found.photograph)
    one.note("beyond", found.canvas)


def _own(one: Measured, labelled: Labelled, clip: Clip) -> None:
    """What is seen in a clip with nothing asked for."""
    tracks = track(clip.compared)
    kind, end = moves.kind(tracks), camera(tracks)
    one.kinds.append(kind)
    one.ends.append(end)
    one.note("path", moves.path(tracks))
    one.note("first", looks.psnr(clip.frames[0], labelled.photo.still))
    if kind.startswith(("pan", "tilt")):
        one.note("level", float(abs(np.degrees(end.roll))))
    if kind != moves.STANDS and not moves.orbits(tracks):
        taken = moves.steps(track(clip.frames))
        one.note("jump", float(taken.max() / max(np.median(taken), 1e-6)))
        begins, ends = moves.eases(taken)
        one.note("begins", begins)
        one.note("ends", ends)
    if one.deep:
        one.note("parallax", labelled.parallax(clip.compared))


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


def _stirred(one: Measured, labelled: Labelled, clip: Clip) -> None:
    found = labelled.stir(clip.compared)
    one.note("stir", found and found.inside)
    one.note("stir outside", found and found.outside)
