"""Synthetic camera motion: where every pixel of a frame looks in the still.

A motion maps output pixels, measured from the middle of the frame, to places in the still. At time 0
it is the identity. Time runs in frames at 7 fps, so the same motion at 14 fps takes half steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Grid = NDArray[np.floating[Any]]
BASE_FPS = 7.0
FULL_FLOW = 1.0
"""Mean flow, pixels per frame at 7 fps, that a motion bucket of 255 stands for."""


@dataclass(frozen=True)
class Motion:
    """Rates per frame at 7 fps; lengths in pixels, ``roll`` in radians, ``zoom`` in log scale."""

    zoom: float = 0.0
    pan: tuple[float, float] = (0.0, 0.0)
    roll: float = 0.0
    focus: tuple[float, float] = (0.0, 0.0)
    parallax: float = 0.0  # how much faster the near layer moves, as a share
    near: tuple[float, float, float] = (0.0, 0.0, 1.0)  # the near layer: centre x, y and radius
    sway: float = 0.0  # amplitude of the ambient warp
    wave: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # its wave vector, phase, rate

    def scaled(self, factor: float) -> Motion:
        """The same path, ``factor`` times as fast."""
        return replace(
            self,
            zoom=self.zoom * factor,
            pan=(self.pan[0] * factor, self.pan[1] * factor),
            roll=self.roll * factor,
            sway=self.sway * factor,
        )

    @property
    def affine(self) -> bool:
        """Whether the whole frame moves as one: no layers, no warp."""
        return not (self.parallax or self.sway)

    def matrix(self, time: float) -> Grid:
        """[2 3]: what ``source`` does to a point when the motion is affine."""
        cos, sin = math.cos(self.roll * time), math.sin(self.roll * time)
        turn = np.array([[cos, -sin], [sin, cos]]) * math.exp(-self.zoom * time)
        centre = np.array(self.focus)
        return np.column_stack([turn, centre - turn @ centre - np.array(self.pan) * time])

    def source(self, points: Grid, time: float) -> Grid:
        """Points [H W 2] of the frame at ``time`` => where they look in the still, [H W 2]."""
        centre = np.array(self.focus, points.dtype)
        arm = points - centre
        cos, sin = math.cos(self.roll * time), math.sin(self.roll * time)
        turned = np.stack([cos * arm[..., 0] - sin * arm[..., 1], sin * arm[..., 0] + cos * arm[..., 1]], axis=-1)
        shift = turned * math.exp(-self.zoom * time) - arm - np.array(self.pan, points.dtype) * time
        if self.parallax:
            shift = shift * (1 + self.parallax * self._nearness(points))[..., None]
        if self.sway:
            shift = shift + self._swaying(points, time)
        return np.asarray(points + shift)

    def _nearness(self, points: Grid) -> Grid:
        """1 inside the near layer, 0 outside, with a soft edge; mean near 0 over a frame."""
        x, y, radius = self.near
        distance = np.hypot(points[..., 0] - x, 1.3 * (points[..., 1] - y)) / radius
        return np.asarray(1 / (1 + np.exp(8 * (distance - 1))) - 0.4)

    def _swaying(self, points: Grid, time: float) -> Grid:
        kx, ky, phase, rate = self.wave
        along = np.sin(points[..., 0] * kx + points[..., 1] * ky + phase + rate * time)
        start = np.sin(points[..., 0] * kx + points[..., 1] * ky + phase)
        across = np.array([-ky, kx], points.dtype) / max(float(np.hypot(kx, ky)), 1e-9)
        return np.asarray(self.sway * (along - start)[..., None] * across)


def pixel_grid(height: int, width: int, step: int = 1) -> Grid:
    """Pixel centres [H/step W/step 2], x then y, measured from the middle of the frame."""
    x = (np.arange(0, width, step) + step / 2) - width / 2
    y = (np.arange(0, height, step) + step / 2) - height / 2
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float64)


def mean_flow(motion: Motion, size: tuple[int, int], frames: int, fps: float) -> float:
    """Measured mean flow between consecutive frames, in pixels, over all pixels and pairs.

    From a to b the content under p moves by J^-1 (source_b(p) - source_a(p)), J the Jacobian of
    source_a: exact to first order in the step between frames.
    """
    step = 8
    points = pixel_grid(*size, step=step)
    lengths = []
    before = motion.source(points, 0.0)
    for frame in range(1, frames):
        after = motion.source(points, frame * BASE_FPS / fps)
        across, down = np.gradient(before, step, axis=1), np.gradient(before, step, axis=0)
        jacobian = np.stack([across, down], axis=-1)
        delta = (after - before)[..., None]
        lengths.append(np.linalg.norm(np.linalg.solve(jacobian, delta)[..., 0], axis=-1).mean())
        before = after
    return float(np.mean(lengths))


def bucket_of(flow: float, fps: float) -> float:
    """Mean flow in pixels per frame => motion bucket 0..255, the speed it would have at 7 fps."""
    return float(np.clip(255 * flow * fps / BASE_FPS / FULL_FLOW, 0, 255))


def drift(rng: Generator) -> Motion:
    """The camera slides to the right, so the picture slides to the left."""
    return Motion(pan=(-60.0, 0.0))


def push_in(rng: Generator) -> Motion:
    return Motion(zoom=1.0, focus=(rng.normal() * 6, rng.normal() * 4))


def pull_out(rng: Generator) -> Motion:
    return Motion(zoom=-1.0)


def pan(rng: Generator) -> Motion:
    """Any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return Motion(pan=(60 * np.cos(angle), 60 * np.sin(angle)))


def roll(rng: Generator) -> Motion:
    return Motion(pan=(-60.0, 0.0), roll=rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.6))


def layers(rng: Generator) -> Motion:
    """A drift past a near layer that moves faster than what lies behind it."""
    near = (rng.normal() * 15, 10 + rng.normal() * 8, rng.uniform(45, 65))
    return Motion(pan=(-60.0, 0.0), parallax=rng.uniform(0.2, 0.5), near=near)


def ambient(rng: Generator) -> Motion:
    """A gentle warp, as of water or leaves, over a drift."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(60, 120)
    wave = (2 * np.pi / length * np.cos(angle), 2 * np.pi / length * np.sin(angle))
    return Motion(
        pan=(-50.0, 0.0),
        sway=rng.uniform(20, 60),
        wave=(*wave, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5)),
    )


Kind = Callable[[Generator], Motion]
LEADING = "drift"
KINDS: dict[str, tuple[float, Kind]] = {
    LEADING: (0.80, drift),
    "push_in": (0.04, push_in),
    "pull_out": (0.01, pull_out),
    "pan": (0.02, pan),
    "roll": (0.03, roll),
    "layers": (0.06, layers),
    "ambient": (0.04, ambient),
}
"""Shares of a training set. One motion leads: with several equally likely the network predicts their blur."""


def draw_kind(rng: Generator) -> str:
    names, shares = list(KINDS), np.array([share for share, _ in KINDS.values()])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def draw(rng: Generator, size: tuple[int, int], frames: int, fps: float, kind: str) -> Motion:
    """A motion whose mean flow is spread evenly over the buckets."""
    return at_flow(KINDS[kind][1](rng), rng.uniform(0.02, 1.0) * FULL_FLOW * BASE_FPS / fps, size, frames, fps)


def at_flow(motion: Motion, flow: float, size: tuple[int, int], frames: int, fps: float) -> Motion:
    """``motion`` sped up or slowed down until its measured mean flow is ``flow`` (within 2 %)."""
    motion = motion.scaled(1e-4)
    for _ in range(6):
        measured = mean_flow(motion, size, frames, fps)
        if abs(measured / flow - 1) < 0.02:
            break
        motion = motion.scaled(flow / measured)
    return motion
