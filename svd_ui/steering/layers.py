"""Things that go over a picture as sheets of their own, before what was behind them.

A sheet's colours are told apart from what shone through its soft edge (alpha matting: picture = alpha * thing + (1 - alpha)
* background), so that none of the old background goes along. What has not moved is the picture itself, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choreography import Picture, Scenery
from .cutout import refined
from .inpainting import spread, without
from .marks import Arrow, Mask, Point

GONE = 1.5
"""Pixels after which a sheet has left its place: what it covered there is then all paint."""
BEYOND = 0.6
"""Of the frame, how far at most a thing that the frame cuts off is continued, painted on."""
SAMPLES = 24
"""Moments of the clip that say where a thing comes by."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Thing:
    """``mask`` [h w] is where it is, ``ways`` lead places on it to where they shall be, in shares of the frame.

    Several ways also turn it and change its size.
    """

    mask: Mask
    ways: tuple[Arrow, ...]

    def motion(self, share: float, width: int, height: int) -> NDArray[np.float64]:
        """The similarity [2 3] that it has moved by at a share of the clip, in pixels of a frame of that size."""
        size = np.array([width, height])
        before = np.array([way[0] for way in self.ways]) * size
        after = np.array([along(way, share, width / height) for way in self.ways]) * size
        return _similarity(before, after)


def along(way: Sequence[Point], share: float, aspect: float = 1.0) -> Point:
    """Where on a ``way`` of straight pieces one is at a share of the time: slow at both ends, else evenly."""
    gone = share * share * (3 - 2 * share)
    points = np.array(way, np.float64)
    lengths = np.hypot(*(np.diff(points, axis=0) * (aspect, 1)).T)
    at = np.concatenate([[0], lengths.cumsum()])
    x, y = (float(np.interp(gone * at[-1], at, points[:, axis])) for axis in (0, 1))
    return x, y


def moved(things: Sequence[Thing]) -> Callable[[Picture], Scenery]:
    """``things``, the first in front, going their ways over a picture of any size."""
    return lambda picture: _Sheets(picture, things)


def touched(things: Sequence[Thing]) -> Mask:
    """Where ``things`` are at any time of the clip, [h w]."""
    import cv2

    height, width = things[0].mask.shape
    found = np.zeros((height, width), np.float32)
    for thing in things:
        for share in np.linspace(0, 1, SAMPLES):
            here = cv2.warpAffine(thing.mask, thing.motion(float(share), width, height), (width, height))
            found = np.maximum(found, here)
    grown = max(1, round(0.01 * max(height, width)))
    wider: Mask = cv2.dilate(found, np.ones((2 * grown + 1, 2 * grown + 1), np.uint8))
    return wider


def apart(picture: Picture, mask: Mask, behind: Picture) -> Picture:
    """The colours of what ``mask`` [H W] covers without those ``behind`` it, and spread beyond its edge: [H W 3]."""
    alpha = mask[..., None]
    own = spread(picture, mask > 0.97) if (mask > 0.97).any() else picture.astype(np.float32)
    solved = ((picture - (1 - alpha) * behind) / np.maximum(alpha, 0.2)).clip(0, 255)
    trust = ((alpha - 0.3) / 0.6).clip(0, 1)
    found: Picture = np.where(alpha > 0.97, picture, own + trust * (solved - own)).round().clip(0, 255).astype(np.uint8)
    return found


class _Sheets:
    def __init__(self, picture: Picture, things: Sequence[Thing]) -> None:
        self._things = things
        self._height, self._width = picture.shape[:2]
        masks, free = [], np.ones(picture.shape[:2], np.float32)
        for thing in things:
            masks.append(refined(picture, thing.mask) * free)
            free = free * (1 - masks[-1])
        self._plate = without(picture, 1 - free)
        self._sheets = [self._sheet(picture, thing, mask) for thing, mask in zip(things, masks, strict=True)]
        self._missing = picture.astype(np.int16) - self._composed(0.0)

    def __call__(self, share: float) -> Picture:
        frame, near = self._composed(share), 1 - self._gone(share) / GONE
        if near <= 0:
            return frame
        return np.asarray((frame + np.rint(near * self._missing)).clip(0, 255), np.uint8)

    def _sheet(self, picture: Picture, thing: Thing, mask: Mask) -> tuple[Floats, int, int]:
        """(premultiplied colours and alpha [h w 4], x and y of its corner), continued where the frame cuts it off."""
        colours = apart(picture, mask, self._plate)
        sides = self._beyond(thing, mask)
        alpha = np.pad(mask, sides, mode="edge")
        rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return np.zeros((1, 1, 4), np.float32), 0, 0
        here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        cut, alpha = np.pad(colours, (*sides, (0, 0)), mode="edge")[here], np.ascontiguousarray(alpha[here])
        if np.any(sides):
            outside = np.pad(np.zeros_like(mask), sides, constant_values=1)[here]
            cut = without(np.ascontiguousarray(cut), np.maximum(outside, alpha < 0.5), grown=0)
        sheet = np.concatenate([cut * alpha[..., None], alpha[..., None]], axis=2)
        return sheet, int(columns[0]) - sides[1][0], int(rows[0]) - sides[0][0]

    def _beyond(self, thing: Thing, mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many pixels more are seen of what the frame cuts off: (above, below), (left, right)."""
        edges = mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()
        far = max(self._shift(thing, share) for share in np.linspace(0, 1, 9))
        most = BEYOND * min(self._height, self._width) - 1
        top, bottom, left, right = (math.ceil(min(far, most)) + 2 if edge > 0.5 else 0 for edge in edges)
        return (top, bottom), (left, right)

    def _composed(self, share: float) -> Picture:
        """The plate and over it the sheets, the first one last."""
        import cv2

        frame = self._plate.copy()
        for thing, (sheet, x, y) in reversed(list(zip(self._things, self._sheets, strict=True))):
            motion = thing.motion(share, self._width, self._height)
            motion[:, 2] += motion[:, :2] @ (x + 0.5, y + 0.5) - 0.5  # a pixel's middle is at a half
            corners = np.array([(i, j, 1) for i in (0, sheet.shape[1]) for j in (0, sheet.shape[0])]) @ motion.T
            left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
            right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (self._width, self._height))
            if left >= right or top >= bottom:
                continue
            motion[:, 2] -= left, top
            size = int(right - left), int(bottom - top)
            seen = cv2.warpAffine(sheet, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
            under = frame[top:bottom, left:right]
            over = seen[..., :3] + (1 - seen[..., 3:].clip(0, 1)) * under
            frame[top:bottom, left:right] = over.round().clip(0, 255)
        return frame

    def _gone(self, share: float) -> float:
        """Pixels that what has come farthest has moved."""
        return max(self._shift(thing, share) for thing in self._things)

    def _shift(self, thing: Thing, share: Any) -> float:
        motion = thing.motion(float(share), self._width, self._height)
        rows, columns = (np.flatnonzero(thing.mask.max(axis=axis) > 0) for axis in (1, 0))
        if not len(rows):
            return 0.0
        height, width = thing.mask.shape
        x = np.array([columns[0], columns[-1] + 1]) * self._width / width
        y = np.array([rows[0], rows[-1] + 1]) * self._height / height
        corners = np.array([(i, j) for i in x for j in y])
        return float(np.hypot(*(corners @ motion[:, :2].T + motion[:, 2] - corners).T).max())


def _similarity(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """What brings points [K 2] to others best: moved, and from two on also turned and scaled (Umeyama 1991): [2 3]."""
    source, target = (points[:, 0] + 1j * points[:, 1] for points in (before, after))
    middle, goal = source.mean(), target.mean()
    size = float((np.abs(source - middle) ** 2).sum())
    turn = ((source - middle).conj() * (target - goal)).sum() / size if size > 1e-9 else 1.0 + 0j
    shift = goal - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
