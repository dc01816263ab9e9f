"""Synthetic motion: where every point of a frame looks in the still.

Places and lengths are in halves of the frame's longer side, measured from its middle, so that a motion is the same
at every size. At time 0 every motion is the identity. Time runs in frames at 7 fps: the same motion at 14 fps takes
half steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenes import NOTHING, Scene

Grid = NDArray[np.floating[Any]]
BASE_FPS = 7.0
FULL_FLOW = 1 / 96
"""Mean flow per frame at 7 fps that a motion bucket of 255 stands for: 2.7 pixels at 512x288."""


@dataclass(frozen=True)
class Wave:
    """A travelling wave: points swing by ``amount`` (x, y), by ``rate`` radians a frame; ``vector`` is its wave vector."""

    vector: tuple[float, float]
    amount: tuple[float, float]
    rate: float
    phase: float

    def shift(self, points: Grid, time: float) -> Grid:
        along = points @ np.array(self.vector, points.dtype) + self.phase
        swing = np.sin(along + self.rate * time) - np.sin(along)
        return np.asarray(swing[..., None] * np.array(self.amount, points.dtype))


@dataclass(frozen=True)
class Wind:
    """What stirs the parts of a scene of one ``kind``: waves, and a steady drift (x, y) a frame."""

    kind: str
    waves: tuple[Wave, ...] = ()
    drift: tuple[float, float] = (0.0, 0.0)

    def scaled(self, factor: float) -> Wind:
        waves = (replace(w, amount=(w.amount[0] * factor, w.amount[1] * factor)) for w in self.waves)
        return Wind(self.kind, tuple(waves), (self.drift[0] * factor, self.drift[1] * factor))

    def shift(self, points: Grid, time: float) -> Grid:
        shift = -time * np.array(self.drift, points.dtype)
        for wave in self.waves:
            shift = shift + wave.shift(points, time)
        return np.asarray(shift)


@dataclass(frozen=True)
class Motion:
    """A camera and what stirs in front of it. Rates per frame at 7 fps; ``roll`` in radians, ``zoom`` in log scale.

    ``parallax``: how much faster than the farthest the nearest part of the scene moves, as a share.
    """

    zoom: float = 0.0
    pan: tuple[float, float] = (0.0, 0.0)
    roll: float = 0.0
    focus: tuple[float, float] = (0.0, 0.0)
    parallax: float = 0.0
    winds: tuple[Wind, ...] = ()

    def scaled(self, factor: float) -> Motion:
        """The camera's same path, ``factor`` times as fast; the winds as they are."""
        pan = (self.pan[0] * factor, self.pan[1] * factor)
        return replace(self, zoom=self.zoom * factor, pan=pan, roll=self.roll * factor)

    def stirred(self, factor: float) -> Motion:
        """``factor`` times as much wind under the same camera."""
        return replace(self, winds=tuple(wind.scaled(factor) for wind in self.winds))

    @property
    def camera(self) -> Motion:
        return replace(self, winds=())

    def source(self, points: Grid, time: float, scene: Scene = NOTHING) -> Grid:
        """Points [... 2] of the frame at ``time`` => where they look in the still, [... 2]."""
        shift = self._camera_shift(points, time)
        if self.parallax:
            shift = shift * (1 + self.parallax * scene.nearness(points + shift))[..., None]
        seen = points + shift
        for wind in self.winds:
            seen = seen + scene.share(wind.kind, points + shift)[..., None] * wind.shift(points + shift, time)
        return np.asarray(seen)

    def _camera_shift(self, points: Grid, time: float) -> Grid:
        arm = points - np.array(self.focus, points.dtype)
        cos, sin = math.cos(self.roll * time), math.sin(self.roll * time)
        turned = np.stack([cos * arm[..., 0] - sin * arm[..., 1], sin * arm[..., 0] + cos * arm[..., 1]], axis=-1)
        return np.asarray(turned * math.exp(-self.zoom * time) - arm - np.array(self.pan, points.dtype) * time)


def point_grid(height: int, width: int) -> Grid:
    """Centres [height width 2] of as many equal parts of the frame, x then y, in halves of the longer side."""
    half = max(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (np.arange(height) + 0.5 - height / 2) / half
    return np.stack(np.meshgrid(x, y), axis=-1)


def sources(motion: Motion, points: Grid, frames: int, fps: float, scene: Scene = NOTHING) -> Grid:
    """[F ... 2]: where each frame's ``points`` look in the still."""
    return np.stack([motion.source(points, frame * BASE_FPS / fps, scene) for frame in range(frames)])


def mean_flow(seen: Grid) -> float:
    """Mean flow per frame of ``sources`` [F h w 2] over an even grid, in halves of the longer side.

    From a to b the content under p moves by J^-1 (source_a(p) - source_b(p)), J the Jacobian of source_a: exact to
    first order in the step between frames.
    """
    step = 2 / max(seen.shape[1:3])
    before = seen[:-1]
    xx, yx = np.moveaxis(np.gradient(before, step, axis=2), -1, 0)
    xy, yy = np.moveaxis(np.gradient(before, step, axis=1), -1, 0)
    dx, dy = np.moveaxis(seen[1:] - before, -1, 0)
    area = np.maximum(np.abs(xx * yy - xy * yx), 0.2)  # 0 where the picture folds
    return float(np.mean(np.hypot(yy * dx - xy * dy, xx * dy - yx * dx) / area))


def bucket_of(flow: float, fps: float) -> float:
    """Mean flow per frame in halves of the longer side => motion bucket 0..255, the speed it would have at 7 fps."""
    return float(np.clip(255 * flow * fps / BASE_FPS / FULL_FLOW, 0, 255))


def at_flow(motion: Motion, flow: float, points: Grid, frames: int, scene: Scene = NOTHING) -> Motion:
    """``motion`` with its camera sped up or slowed down until the measured mean flow at 7 fps is ``flow``, within 2 %.

    Winds that make more than 0.8 of it by themselves are weakened first.
    """

    def measured(motion: Motion) -> float:
        return mean_flow(sources(motion, points, frames, BASE_FPS, scene))

    if motion.winds:
        alone = measured(Motion(winds=motion.winds))
        motion = motion.stirred(min(1.0, 0.8 * flow / max(alone, 1e-9)))
    motion = motion.scaled(1e-4)
    for _ in range(8):
        now = measured(motion)
        if abs(now / flow - 1) < 0.02:
            break
        motion = motion.scaled(min(max(flow / max(now, 1e-9), 0.2), 1e4))
    return motion
