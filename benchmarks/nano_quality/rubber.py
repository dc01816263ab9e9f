"""What bends: motion that no camera makes, near every point and along straight edges. Figures are for 512 wide."""

from __future__ import annotations

import cv2
import numpy as np

from .tracks import Frames, Grid, Tracks, grey, track

REACH = 96.0
"""Pixels within which a camera's motion is nearly affine."""
LEAST_NEIGHBOURS = 14
ROUNDS = 5
LEAST_LENGTH = 80.0
SPACING = 6.0
"""Pixels between the points of a straight segment that are followed."""
LEAST_ON_A_LINE = 8


def rubber(tracks: Tracks) -> float | None:
    """What the best affine motion of its neighbourhood leaves of a point's, 75 % quantile in pixels.

    A true zoom reads 0.1 to 0.5: what following points adds, not motion. None with too few points.
    """
    points, ends = tracks.first, tracks.places[-1]
    left = []
    for middle in points:
        near = np.linalg.norm(points - middle, axis=1) < REACH
        if near.sum() >= LEAST_NEIGHBOURS:
            left.append(_left_by_affine(points[near], ends[near]))
    return float(np.quantile(left, 0.75)) if left else None


def _left_by_affine(points: Grid, ends: Grid) -> float:
    """Median pixels by which an affine map misses ``ends``; it follows the points that agree, not the mean of all."""
    known = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    weight, error = np.ones((len(points), 1)), np.zeros(len(points))
    for _ in range(ROUNDS):
        found = np.linalg.lstsq(known * weight, ends * weight, rcond=None)[0]
        error = np.linalg.norm(known @ found - ends, axis=1)
        weight = 1 / np.maximum(error, 0.1)[:, None]
    return float(np.median(error))


def bend(frames: Frames) -> float | None:
    """How far straight segments of the first frame are from straight in the last, median of their rms in pixels.

    None where the picture has no segment long enough.
    """
    segments = _segments(frames[0])
    if not segments:
        return None
    ends = np.cumsum([len(segment) for segment in segments])[:-1]
    followed = track(frames, np.concatenate(segments))
    places = np.full((len(followed.seen), 2), np.nan)
    places[followed.seen] = followed.places[-1]
    left = (part[~np.isnan(part[:, 0])] for part in np.split(places, ends))
    deviations = [_off_a_line(part) for part in left if len(part) >= LEAST_ON_A_LINE]
    return float(np.median(deviations)) if deviations else None


def _segments(frame: Frames) -> list[Grid]:
    """Points [P 2] along each long straight edge."""
    found = cv2.createLineSegmentDetector().detect(grey(frame))[0]
    lines = []
    for start, end in [] if found is None else found.reshape(-1, 2, 2):
        length = float(np.linalg.norm(end - start))
        if length >= LEAST_LENGTH:
            share = np.linspace(0, 1, round(length / SPACING))[:, None]
            lines.append(start * (1 - share) + end * share)
    return lines


def _off_a_line(points: Grid) -> float:
    """Root mean square distance of ``points`` from the line through them."""
    return float(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(points)))
