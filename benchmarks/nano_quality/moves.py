"""Which move a clip makes, and whether the camera goes evenly."""

from __future__ import annotations

import statistics
from itertools import combinations

import numpy as np

from .tracks import Grid, Similarity, Tracks, camera, cameras, frame_grid, nearest

KINDS = ("push", "pull", "pan left", "pan right", "tilt up", "tilt down", "roll or orbit")
STANDS = "none"
LEAST_PATH = 1.0
"""Pixels on average below which a clip counts as standing still."""
UNEXPLAINED = 0.35
"""Share of the squared motion a similarity has to leave for an orbit; a push past something near leaves a tenth."""
OPPOSITE = 0.25
"""How far the smaller of two layers that part goes at least, as a share of the larger."""


def kind(tracks: Tracks) -> str:
    """One of KINDS, or STANDS. Named after the camera: panning left the picture goes right."""
    if orbits(tracks):
        return "roll or orbit"
    move = camera(tracks)
    if move.path < LEAST_PATH:
        return STANDS
    x, y = move.shift
    arm = float(np.linalg.norm(frame_grid(move.size) - np.array(move.size[::-1]) / 2, axis=-1).mean())
    zoom, roll = (np.exp(move.log_scale) - 1) * arm, move.roll * arm
    by = {
        "push" if zoom > 0 else "pull": abs(zoom),
        "pan left" if x > 0 else "pan right": abs(x),
        "tilt up" if y > 0 else "tilt down": abs(y),
        "roll or orbit": abs(roll),
    }
    return max(by, key=by.__getitem__)


def orbits(tracks: Tracks) -> bool:
    """Whether near and far go opposite ways, as no similarity does."""
    moved = tracks.moved
    if len(moved) < 30 or np.linalg.norm(moved, axis=1).mean() < LEAST_PATH:
        return False
    left = moved - nearest(tracks.first, tracks.places[-1], tracks.size).moved(tracks.first)
    if (left**2).sum() < UNEXPLAINED * (moved**2).sum():
        return False
    axis = np.linalg.svd(moved, full_matrices=False)[2][0]
    low, high = np.quantile(moved @ axis, [0.15, 0.85])
    return bool(low < 0 < high and min(-low, high) > OPPOSITE * max(-low, high))


def path(tracks: Tracks) -> float:
    """Pixels from the first frame to the last: the camera's mean over the frame, for an orbit that of the points."""
    return float(np.linalg.norm(tracks.moved, axis=1).mean()) if orbits(tracks) else camera(tracks).path


def spread(ends: list[Similarity]) -> float:
    """Median distance between two of ``ends`` over their median path."""
    apart = statistics.median(a.distance(b) for a, b in combinations(ends, 2))
    return apart / max(statistics.median(end.path for end in ends), 1e-6)


def steps(tracks: Tracks) -> Grid:
    """[F - 1]: the camera's mean displacement over the frame from each frame to the next, pixels."""
    points = frame_grid(tracks.size)
    went = np.stack([move.moved(points) for move in cameras(tracks)])
    return np.linalg.norm(np.diff(went, axis=0), axis=-1).mean(axis=(1, 2))


def eases(taken: Grid) -> tuple[float, float]:
    """Speed in the first and in the last tenth of a clip, at least one step of each, over its median speed."""
    tenth = max(1, round(len(taken) / 10))
    median = max(float(np.median(taken)), 1e-6)
    return float(taken[:tenth].mean()) / median, float(taken[-tenth:].mean()) / median
