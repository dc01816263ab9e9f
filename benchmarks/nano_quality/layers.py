"""Depth: does the near layer go further than the far one? And what stirs by itself once the camera is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .labels import Mask
from .moves import STANDS, kind, orbits
from .tracks import LEAST_POINTS, Frames, Grid, Similarity, Tracks, camera, cameras, corners, track

CLEAR = 1.0
"""Pixels that the camera has to move a place for its depth to show there."""
TRIM = 0.05
"""Share of points, the most restless, taken for lost tracks."""


def parallax(frames: Frames, near: Mask, far: Mask) -> float | None:
    """How far the near layer goes over how far the far one goes, each by what the camera does at its place.

    The camera is the similarity of the whole frame, so a push is compared at equal distance from its middle. Negative where
    they go opposite ways. None where nothing can be told: the clip stands or only rolls, which shows no depth, or
    too few points are left.
    """
    whole = track(frames)
    if kind(whole) in (STANDS, "roll or orbit"):
        return None
    move = camera(whole)
    shares = []
    for layer in (near, far):
        points = track(frames, corners(frames[0], layer))
        by_camera = move.moved(points.first)
        length = np.linalg.norm(by_camera, axis=-1)
        clear = length > CLEAR
        if clear.sum() < LEAST_POINTS:
            return None
        along = (points.moved * by_camera).sum(axis=-1)[clear] / length[clear] ** 2
        shares.append(float(np.median(along)))
    return shares[0] / shares[1] if abs(shares[1]) > 0.05 else None


@dataclass(frozen=True)
class Stir:
    """Mean speed of points once the camera is removed, pixels a compared frame: where things stir, and elsewhere."""

    inside: float
    outside: float


def stir(frames: Frames, stirring: Mask, rest: Mask) -> Stir | None:
    """None where too few points of either are seen throughout."""
    inside, elsewhere = (track(frames, corners(frames[0], area)) for area in (stirring, rest))
    if min(inside.places.shape[1], elsewhere.places.shape[1]) < LEAST_POINTS:
        return None
    return Stir(*(_speed(_without_camera(points, elsewhere)) for points in (inside, elsewhere)))


def _without_camera(points: Tracks, rest: Tracks) -> Grid:
    """Ways [F P 2] less the similarity of ``rest``, and less what grows in the camera's direction as its way does.

    The second is parallax: each point has its own depth. What drifts steadily the camera's way looks like it, to an eye
    as well, and counts for nothing.
    """
    moves = cameras(rest)
    ways = np.stack([at - points.first - move.moved(points.first) for at, move in zip(points.places, moves, strict=True)])  # fmt: skip
    profile, direction = _profile(rest), _directions(points, rest, moves[-1])
    along = np.einsum("f,fpx,px->p", profile, ways, direction)
    return np.asarray(ways - profile[:, None, None] * along[:, None] * direction)


def _profile(rest: Tracks) -> Grid:
    """[F], length 1: how the camera's way grows over the clip, from where what does not stir goes."""
    ways = (rest.places - rest.places[0]).reshape(len(rest.places), -1)
    return np.asarray(np.linalg.svd(ways, full_matrices=False)[0][:, 0])


def _directions(points: Tracks, rest: Tracks, move: Similarity) -> Grid:
    """[P 2], length 1: which way the camera moves each of ``points``; where it does not, or orbits, the way of most."""
    axis = np.linalg.svd(rest.moved, full_matrices=False)[2][0]
    by_camera = move.moved(points.first)
    length = np.linalg.norm(by_camera, axis=-1, keepdims=True)
    clear = (length > CLEAR) & (not orbits(rest))
    return np.where(clear, by_camera / np.maximum(length, 1e-6), axis)


def _speed(ways: Grid) -> float:
    """Mean length of ``ways``' [F P 2] steps over time and over all but the most restless points."""
    speeds = np.sort(np.linalg.norm(np.diff(ways, axis=0), axis=-1).mean(axis=0))
    return float(speeds[: max(1, round(len(speeds) * (1 - TRIM)))].mean())
