"""Points followed through a clip by pyramidal Lucas-Kanade, and the camera that explains them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Grid = NDArray[np.floating[Any]]
MOST_POINTS = 600
WINDOW = (15, 15)
LEAST_POINTS = 8
TOLERANCE = 2.0
"""Pixels by which a point may miss the camera's motion and still count for it."""
RATE = 7.0
"""Frames a second at which clips are compared, whatever rate they are written at."""


@dataclass(frozen=True)
class Tracks:
    """Places [F P 2] of points seen in every frame of a clip of ``size`` (height, width), x then y in pixels.

    ``seen`` [N] says which of the points that were begun with they are.
    """

    places: Grid
    size: tuple[int, int]
    seen: NDArray[np.bool_]

    @property
    def first(self) -> Grid:
        return np.asarray(self.places[0])

    @property
    def moved(self) -> Grid:
        """[P 2]: from the first frame to the last."""
        return np.asarray(self.places[-1] - self.places[0])


def grey(frame: Frames) -> Frames:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def at_rate(frames: Frames, fps: float, rate: float = RATE) -> Frames:
    """First and last of ``frames`` and about ``rate`` a second between them, evenly; never more than there are."""
    wanted = round((len(frames) - 1) * rate / fps) + 1
    return frames[np.linspace(0, len(frames) - 1, min(max(wanted, 2), len(frames))).round().astype(int)]


def corners(frame: Frames, mask: NDArray[np.uint8] | None = None) -> Grid:
    """[P 2]: what is best followed in ``frame``, or in its part where ``mask`` is not 0."""
    found = cv2.goodFeaturesToTrack(grey(frame), MOST_POINTS, 0.01, 6, mask=mask)  # type: ignore[call-overload]
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found.reshape(-1, 2))


def track(frames: Frames, points: Grid | None = None) -> Tracks:
    """Those of ``points`` (the first frame's corners) that are seen until the end."""
    size = (frames.shape[1], frames.shape[2])
    start = corners(frames[0]) if points is None else points
    if not len(start):
        return Tracks(np.zeros((len(frames), 0, 2)), size, np.zeros(0, bool))
    places = [start.astype(np.float32).reshape(-1, 1, 2)]
    seen = np.ones(len(start), bool)
    for a, b in itertools.pairwise([grey(frame) for frame in frames]):
        found, status, _ = cv2.calcOpticalFlowPyrLK(a, b, places[-1], None, winSize=WINDOW, maxLevel=3)  # type: ignore[call-overload]
        inside = (found >= 0).all(axis=(1, 2)) & (found[:, 0] <= np.array(size[::-1]) - 1).all(axis=1)
        seen &= (status.ravel() == 1) & inside
        places.append(found)
    return Tracks(np.stack(places)[:, seen, 0].astype(np.float64), size, seen)


@dataclass(frozen=True)
class Similarity:
    """Places of the first frame => of another: x' = matrix [2 3] (x, 1), in pixels of a frame of ``size``."""

    matrix: Grid
    size: tuple[int, int]

    def moved(self, points: Grid) -> Grid:
        """How far ``points`` [... 2] go."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2] - points)

    @property
    def shift(self) -> tuple[float, float]:
        """x and y of what the middle of the frame showed."""
        x, y = self.moved(np.array(self.size[::-1]) / 2)
        return float(x), float(y)

    @property
    def log_scale(self) -> float:
        return float(np.log(max(np.hypot(self.matrix[0, 0], self.matrix[1, 0]), 1e-6)))

    @property
    def roll(self) -> float:
        """Radians, clockwise as the picture is seen."""
        return float(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))

    @property
    def path(self) -> float:
        """Mean displacement over the frame, pixels."""
        return float(np.linalg.norm(self.moved(frame_grid(self.size)), axis=-1).mean())

    def distance(self, other: Similarity) -> float:
        """Mean distance over the frame between where the two send its points, pixels."""
        points = frame_grid(self.size)
        return float(np.linalg.norm(self.moved(points) - other.moved(points), axis=-1).mean())


def frame_grid(size: tuple[int, int]) -> Grid:
    """Centres [9 16 2] of equal parts of a frame of ``size``."""
    x, y = (np.arange(16) + 0.5) / 16 * size[1], (np.arange(9) + 0.5) / 9 * size[0]
    return np.stack(np.meshgrid(x, y), axis=-1)


def camera(tracks: Tracks) -> Similarity:
    """What most points did from the first frame to the last; nothing where too few were followed."""
    return cameras(tracks)[-1]


def cameras(tracks: Tracks) -> list[Similarity]:
    """From the first frame to each. The points that agree at the end stand for the camera all through the clip.

    Near and far part little by little: chosen anew in every frame, points of one layer would leave at some moment, and
    the camera would seem to jump.
    """
    still = Similarity(np.eye(2, 3), tracks.size)
    if tracks.places.shape[1] < LEAST_POINTS:
        return [still] * len(tracks.places)
    first, last = tracks.first.astype(np.float32), tracks.places[-1].astype(np.float32)
    found, agreeing = cv2.estimateAffinePartial2D(first, last, ransacReprojThreshold=TOLERANCE)
    if found is None:
        return [still] * len(tracks.places)
    chosen = agreeing.ravel().astype(bool)
    return [nearest(tracks.first[chosen], places[chosen], tracks.size) for places in tracks.places]


def nearest(points: Grid, ends: Grid, size: tuple[int, int]) -> Similarity:
    """The similarity of least squares from ``points`` to ``ends`` [P 2]."""
    middle, goal = points.mean(axis=0), ends.mean(axis=0)
    (x, y), (u, v) = (points - middle).T, (ends - goal).T
    spread = max(float((x**2 + y**2).sum()), 1e-9)
    cos, sin = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    turned = np.array([[cos, -sin], [sin, cos]])
    return Similarity(np.concatenate([turned, (goal - turned @ middle)[:, None]], axis=1), size)
