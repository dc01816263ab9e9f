"""Which motions a training set is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from .motion import BASE_FPS, FULL_FLOW, Grid, Motion, Wave, Wind, at_flow
from .scenes import Scene

Camera = Callable[[Generator], Motion]


def push_in(rng: Generator) -> Motion:
    """Towards a place in the middle part of the picture."""
    return Motion(zoom=1.0, focus=(rng.uniform(-0.5, 0.5), rng.uniform(-0.25, 0.25)))


def glide(rng: Generator) -> Motion:
    """Towards a place at or beyond the edge: sideways and in."""
    side = rng.choice([-1.0, 1.0])
    return Motion(zoom=1.0, focus=(side * rng.uniform(0.8, 1.8), rng.uniform(-0.3, 0.3)))


def pan(rng: Generator) -> Motion:
    """Sideways most of the time, else in any direction; a little inwards."""
    angle = rng.choice([0.0, math.pi]) + rng.normal() * 0.15 if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi)
    return Motion(pan=(math.cos(angle), math.sin(angle)), zoom=rng.uniform(0, 0.3))


def orbit(rng: Generator) -> Motion:
    """Sideways past what stands near."""
    return replace(pan(rng), parallax=rng.uniform(0.8, 1.6))


def roll(rng: Generator) -> Motion:
    return Motion(zoom=1.0, roll=rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.8))


CAMERAS: dict[str, tuple[float, Camera]] = {
    "push_in": (0.40, push_in),
    "glide": (0.15, glide),
    "pan": (0.22, pan),
    "orbit": (0.15, orbit),
    "roll": (0.08, roll),
}
"""Shares of a training set."""
AT_REST = 0.35
"""Share of the clips of a scene with something that stirs in which the camera stands still."""
OTHER_RATES = (4, 5, 6, 8, 10, 12, 14, 15, 20, 24, 25, 30)


def camera(rng: Generator) -> Motion:
    """Of any kind, at no particular speed."""
    names, shares = list(CAMERAS), np.array([share for share, _ in CAMERAS.values()])
    motion = CAMERAS[names[int(rng.choice(len(names), p=shares / shares.sum()))]][1](rng)
    return replace(motion, parallax=motion.parallax or rng.uniform(0.2, 0.8))


def water(rng: Generator) -> Wind:
    """Long low swells, flatter than wide."""
    waves = []
    for _ in range(3):
        length, lean = rng.uniform(0.22, 0.55), rng.normal() * 0.5
        vector = (2 * math.pi / length * math.sin(lean), 2 * math.pi / length * math.cos(lean))
        size = rng.uniform(0.35, 0.7) * length / 40
        waves.append(
            Wave(vector, (size * rng.normal() * 0.6, size), rng.uniform(0.3, 0.7), rng.uniform(0, 2 * math.pi))
        )
    return Wind("water", tuple(waves), (rng.normal() * 0.0008, 0.0))


def sky(rng: Generator) -> Wind:
    """Clouds drift to one side."""
    return Wind("sky", (), (rng.choice([-1.0, 1.0]) * rng.uniform(0.0015, 0.006), rng.normal() * 0.0006))


def foliage(rng: Generator) -> Wind:
    """Leaves and stalks sway together, a little out of step."""
    waves = []
    for share in (1.0, 0.5):
        length, lean = rng.uniform(0.5, 1.4) * (1.2 - share / 2), rng.uniform(0, 2 * math.pi)
        vector = (2 * math.pi / length * math.cos(lean), 2 * math.pi / length * math.sin(lean))
        size = share * rng.uniform(0.006, 0.016)
        waves.append(
            Wave(vector, (size, size * rng.normal() * 0.25), rng.uniform(0.3, 0.8), rng.uniform(0, 2 * math.pi))
        )
    return Wind("foliage", tuple(waves))


def smoke(rng: Generator) -> Wind:
    """Veils rise, drift and curl."""
    waves = []
    for _ in range(2):
        length, lean = rng.uniform(0.35, 0.8), rng.uniform(0, 2 * math.pi)
        vector = (2 * math.pi / length * math.cos(lean), 2 * math.pi / length * math.sin(lean))
        size = rng.uniform(0.005, 0.012)
        across = (-size * math.sin(lean), size * math.cos(lean))
        waves.append(Wave(vector, across, rng.uniform(0.25, 0.5), rng.uniform(0, 2 * math.pi)))
    return Wind("smoke", tuple(waves), (rng.normal() * 0.002, -rng.uniform(0.0005, 0.003)))


WINDS: dict[str, Callable[[Generator], Wind]] = {"water": water, "sky": sky, "foliage": foliage, "smoke": smoke}


def draw_fps(rng: Generator) -> float:
    """7 for most clips."""
    return BASE_FPS if rng.random() < 0.6 else float(rng.choice(OTHER_RATES))


def draw(rng: Generator, points: Grid, frames: int, scene: Scene) -> Motion:
    """A motion whose mean flow is spread evenly over the buckets; what can stir in ``scene`` does."""
    share = rng.uniform(0.02, 1.0)
    winds = tuple(WINDS[kind](rng).scaled(0.4 + 0.6 * share) for kind in sorted(scene.stirring))
    if winds and rng.random() < AT_REST:
        return Motion(winds=winds)
    return at_flow(replace(camera(rng), winds=winds), share * FULL_FLOW, points, frames, scene)
