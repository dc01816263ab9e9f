"""Frontal faces in a picture, by OpenCV's cascade of local binary patterns, in numpy alone. Milliseconds, deterministic.

The cascade and how it is read: S. Liao et al., "Learning multi-scale block local binary patterns for face recognition"
(ICB 2007), as in OpenCV's ``cascadedetect``. Its numbers are ``frontal_face.json``, 16 kB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .image import Box

LOOKED_AT = 360
"""Pixels of the longer side that are looked at: faces from a fifteenth of it on are found."""
SCALE = 1.2
"""From one size of face to the next."""
COARSE = 2.0
"""From this reduction on every window is tried; in a larger picture there are many, and every other one shows the way."""
SEEN = 6
"""Windows that must agree on a face: what few see is mostly none."""
ALIKE = 0.25
"""Of its side a window may lie or measure apart from those it agrees with."""

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Weak:
    """One vote: ``corners`` [2 16] are (y, x) of the grid of nine blocks, ``votes`` [256] by the pattern found."""

    corners: Ints
    votes: NDArray[np.float64]


@dataclass(frozen=True)
class Cascade:
    """``stages``: each must sum up to its threshold for the next to be asked. ``window`` pixels wide and high."""

    window: int
    stages: tuple[tuple[float, tuple[Weak, ...]], ...]


def faces(image: Image.Image) -> list[Box]:
    """The faces of an RGB or grey picture, in its pixels, those that are surest first."""
    shrink = max(1.0, max(image.size) / LOOKED_AT)
    found = [hit for level in _levels(reduced(image).convert("L")) for hit in level]
    return [tuple(value * shrink for value in box) for box in _agreed(found)]  # type: ignore[misc]


def reduced(image: Image.Image) -> Image.Image:
    """A copy of at most ``LOOKED_AT`` pixels along a side."""
    shrink = max(1.0, max(image.size) / LOOKED_AT)
    size = max(1, round(image.width / shrink)), max(1, round(image.height / shrink))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _levels(grey: Image.Image) -> Iterator[list[Box]]:
    """The windows that hold a face, for one size of face after the other."""
    side, scale = _cascade().window, 1.0
    while min(grey.size) / scale >= side:
        size = int(grey.width / scale), int(grey.height / scale)
        small = np.asarray(grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), np.int32)
        found = _windows(small, 1 if scale > COARSE else 2).T.tolist()
        yield [(x * scale, y * scale, (x + side) * scale, (y + side) * scale) for y, x in found]
        scale *= SCALE


def _windows(grey: Ints, step: int) -> Ints:
    """[2 n] (y, x) of the windows of ``grey`` [H W] that hold a face: one of every ``step`` is tried, then those beside it."""
    cascade = _cascade()
    sums = np.pad(grey.cumsum(0, np.int32).cumsum(1, np.int32), ((1, 0), (1, 0)))  # less than 2**31: it is small
    last = np.array(grey.shape)[:, None] - cascade.window
    tried = np.stack(np.meshgrid(*(np.arange(0, end + 1, step) for end in last[:, 0]), indexing="ij")).reshape(2, -1)
    found = _passed(cascade, sums, tried)
    if step == 1:
        return found
    beside = (found[:, :, None] + np.indices((3, 3)).reshape(2, 1, 9) - 1).reshape(2, -1)
    return _passed(cascade, sums, np.unique(beside[:, ((beside >= 0) & (beside <= last)).all(0)], axis=1))


def _passed(cascade: Cascade, sums: Ints, at: Ints) -> Ints:
    """Those of the windows ``at`` [2 n] (y, x) that pass every stage; ``sums`` is the integral of the picture."""
    for threshold, voters in cascade.stages:
        if not at.size:
            break
        origin = at[0] * sums.shape[1] + at[1]
        votes = sum(weak.votes[_patterns(sums, origin, weak.corners)] for weak in voters)
        at = at[:, votes >= threshold]
    return at


_RING = np.array([0, 1, 2, 5, 8, 7, 6, 3])
"""The blocks around the middle one of nine, from the highest bit of a pattern to the lowest."""


def _patterns(sums: Ints, origin: Ints, corners: Ints) -> Ints:
    """[n] which of the eight outer blocks are at least as bright as the middle one, as bits; ``sums`` is integral."""
    grid = sums.take(origin + (corners[0] * sums.shape[1] + corners[1])[:, None]).reshape(4, 4, -1)
    across = grid[:, 1:] - grid[:, :-1]
    blocks = (across[1:] - across[:-1]).reshape(9, -1)
    patterns: Ints = np.packbits(blocks[_RING] >= blocks[4], axis=0)[0]
    return patterns


def _agreed(found: list[Box]) -> list[Box]:
    """Windows about the same place as one face, their mean; the one most windows agree on first."""
    groups: list[list[Box]] = []
    for box in found:
        group = next((group for group in groups if _alike(np.mean(group, 0), box)), None)
        if group is None:
            groups.append([box])
        else:
            group.append(box)
    sure = sorted((group for group in groups if len(group) >= SEEN), key=len, reverse=True)
    means = [tuple(map(float, np.mean(group, 0))) for group in sure]
    return [box for index, box in enumerate(means) if not any(_holds(other, box) for other in means[:index])]  # type: ignore[misc]


def _alike(one: NDArray[np.float64], other: Box) -> bool:
    return bool(np.abs(one - np.asarray(other)).max() <= ALIKE * min(one[2] - one[0], other[2] - other[0]))


def _holds(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the middle of ``other`` lies in ``one``."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return one[0] <= x <= one[2] and one[1] <= y <= one[3]


@cache
def _cascade() -> Cascade:
    data = json.loads(Path(__file__).with_name("frontal_face.json").read_text("utf-8"))
    stages = ((stage["threshold"], tuple(_weak(*row) for row in stage["weak"])) for stage in data["stages"])
    return Cascade(data["window"], tuple(stages))


def _weak(x: int, y: int, width: int, height: int, table: str, inside: float, outside: float) -> Weak:
    rows, columns = y + height * np.arange(4), x + width * np.arange(4)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij")).reshape(2, 16)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(table), np.uint8), bitorder="little")
    return Weak(corners, np.where(bits, inside, outside))
