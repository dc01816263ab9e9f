"""Figures of a clip's pixels that tell whether it was steered: steps, seams, ways back, speeds."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.nano_quality.labels import Mask, inner
from benchmarks.nano_quality.layers import TRIM
from benchmarks.nano_quality.looks import sharpness
from benchmarks.nano_quality.tracks import LEAST_POINTS, Frames, Grid, Tracks, corners, track

Floats = NDArray[np.float64]
SLOWEST = 0.1
"""Pixels a frame below which nothing can be said of a direction."""


def apart(a: Frames, b: Frames) -> float:
    """Root mean square difference of two frames."""
    return float(np.sqrt(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)))


def steps(frames: Frames) -> Floats:
    """[F - 1]: from each frame to the next, in levels."""
    return np.array([apart(a, b) for a, b in itertools.pairwise(frames)])


def seam(frames: Frames) -> float:
    """The step from the last frame to the first over the mean of those beside it: what swings is never even all through."""
    beside = apart(frames[-2], frames[-1]) + apart(frames[0], frames[1])
    return apart(frames[-1], frames[0]) / max(beside / 2, 1e-6)


def jump(frames: Frames) -> float:
    """The largest step over the median one."""
    taken = steps(frames)
    return float(taken.max() / max(float(np.median(taken)), 1e-6))


def palindrome(frames: Frames) -> float | None:
    """0 where a loop of N ``frames`` goes back the way it came, 1 where it does not at all. None where too few points are seen.

    Points of frames k and N - k, mirror images in time: their median distance over that of any two frames.
    """
    places = track(frames).places
    count = len(places)
    if places.shape[1] < LEAST_POINTS:
        return None
    distances = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=-1).mean(axis=-1))
    mirrored = [distances[k, count - k] for k in range(1, (count + 1) // 2)]
    any_two = distances[np.triu_indices(count, 1)]
    return float(np.median(mirrored) / max(float(np.median(any_two)), 1e-6))


def speed(frames: Frames, area: Mask | None = None) -> float | None:
    """Mean length of points' steps where ``area`` is not 0, pixels; the most restless are taken for lost. None with too few."""
    points = track(frames, corners(frames[0], area))
    if points.places.shape[1] < LEAST_POINTS:
        return None
    lengths = np.sort(np.linalg.norm(np.diff(points.places, axis=0), axis=-1).mean(axis=0))
    return float(lengths[: max(1, round(len(lengths) * (1 - TRIM)))].mean())


def way(frames: Frames, area: Mask) -> Grid | None:
    """[2]: how far what ``area`` [H W] covers has come in the end: its points' median, or where it is found again as it was.

    None where ``area`` is empty.
    """
    points = track(frames, corners(frames[0], inner(area)))
    if points.places.shape[1] >= LEAST_POINTS:
        return np.asarray(np.median(points.moved, axis=0))
    return _found_again(frames[0], frames[-1], area) if area.any() else None


def _found_again(first: Frames, last: Frames, area: Mask) -> Grid:
    """The shift at which the pixels of ``area`` differ least, to a part of a pixel by a parabola through its neighbours."""
    x, y, width, height = cv2.boundingRect(area)
    window = np.s_[y : y + height, x : x + width]
    differs = cv2.matchTemplate(last, first[window], cv2.TM_SQDIFF, mask=np.repeat(area[window][..., None], 3, 2))
    row, column = np.unravel_index(np.argmin(differs), differs.shape)
    right, down = _vertex(differs[row], int(column)), _vertex(differs[:, column], int(row))
    return np.array([column - x + right, row - y + down])


def _vertex(values: Grid, at: int) -> float:
    """How far beside its least value a row of ``values`` has its lowest point; 0 at its ends."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(one) for one in values[at - 1 : at + 2])
    curve = before - 2 * here + after
    return (before - after) / (2 * curve) if curve > 0 else 0.0


def across(three: Frames) -> tuple[float, float] | None:
    """Of the two steps between ``three`` frames: the cosine between their flows, and the second's speed over the first's.

    None where one of them stands still or too few points are seen.
    """
    points: Tracks = track(three)
    if points.places.shape[1] < LEAST_POINTS:
        return None
    one, other = np.diff(points.places, axis=0)
    before, after = (np.sqrt((step**2).sum(axis=-1).mean()) for step in (one, other))
    if min(before, after) < SLOWEST:
        return None
    return float((one * other).sum(axis=-1).mean() / (before * after)), float(after / before)


def off(frames: Frames, still: Frames, where: NDArray[np.bool_]) -> float | None:
    """Mean absolute difference from ``still`` in levels, over all ``frames`` and the places ``where`` [H W]; None where it is empty."""
    if not where.any():
        return None
    return float(np.abs(frames[:, where].astype(np.int16) - still[where]).mean())


def grown(area: Mask, pixels: int) -> Mask:
    side = 2 * pixels + 1
    return np.asarray(cv2.dilate(area, np.ones((side, side), np.uint8)), np.uint8)


def sharp(frames: Frames, reference: float) -> float:
    """The least sharp of ``frames`` over ``reference``."""
    return min(sharpness(one) for one in frames) / reference
