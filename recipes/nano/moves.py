"""Which motions a training set is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from svd_ui.core.families.scene import ARC, Scene, grid
from svd_ui.core.families.warp import MEAN_DEPTH

from .motion import Wave, Wind

Way = tuple[float, float, float, float, float]
"""Pan x and y, log zoom, roll, arc: how much of each there is in a move, each in units of the path it makes alone."""
SMALL_PATH = 0.02
"""Halves of the longer side at which a move's path is measured: short enough to be straight."""


def _either(rng: Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))


def push(rng: Generator) -> Way:
    """Towards a place in the middle part of the picture."""
    return rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3), 1.0, rng.normal() * 0.03, 0.0


def pull(rng: Generator) -> Way:
    """Away from it."""
    return rng.uniform(-0.25, 0.25), rng.uniform(-0.15, 0.15), -1.0, rng.normal() * 0.03, 0.0


def pan(rng: Generator) -> Way:
    """Sideways, a little inwards, so that less of what is beyond the edge comes into view."""
    return _either(rng), rng.normal() * 0.06, rng.uniform(0.15, 0.4), 0.0, 0.0


def tilt(rng: Generator) -> Way:
    """Up or down, a little inwards."""
    return rng.normal() * 0.06, _either(rng), rng.uniform(0.15, 0.4), 0.0, 0.0


def roll(rng: Generator) -> Way:
    """About the middle, a little inwards."""
    return rng.normal() * 0.1, rng.normal() * 0.1, rng.uniform(0.15, 0.4), _either(rng), 0.0


def arc(rng: Generator) -> Way:
    """Sideways past what stands near."""
    side = _either(rng)
    return 0.55 * side, 0.0, rng.uniform(0.05, 0.25), 0.0, side


CAMERAS: dict[str, tuple[float, Callable[[Generator], Way]]] = {
    "push": (0.16, push),
    "pull": (0.16, pull),
    "pan": (0.20, pan),
    "tilt": (0.22, tilt),
    "roll": (0.16, roll),
    "arc": (0.10, arc),
}
"""Shares of a training set."""
FPS = 5.0
OTHER_RATES = (4, 6, 7, 8, 10, 12, 14, 15, 20, 24, 25, 30)


def camera(rng: Generator, frames: int, nearness: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steps [F 5] of a camera of any kind in front of ``nearness`` [h w], in units of the motion that is asked for.

    They add up to the path that is asked for, mean over the frame; it starts and ends more or less softly.
    """
    names, shares = list(CAMERAS), np.array([share for share, _ in CAMERAS.values()])
    way = CAMERAS[names[int(rng.choice(len(names), p=shares / shares.sum()))]][1](rng)
    turns = 2 * math.pi * (np.arange(1, frames) - 0.5) / (frames - 1)
    pace = np.concatenate([[0.0], 1 - rng.uniform(0.1, 0.6) * np.cos(turns)])
    return np.asarray(pace[:, None] * np.array(way) / path_of(way, torch.from_numpy(nearness)), np.float32)


def path_of(way: Way, nearness: torch.Tensor) -> float:
    """How far a move goes in front of ``nearness`` [h w], mean over the frame, in units of the path that is asked for."""
    arm = float(grid(*nearness.shape, nearness).norm(dim=0).mean())
    units = torch.tensor([1.0, 1.0, 1 / arm, 1 / arm, 1 / (ARC * MEAN_DEPTH)])
    pose = torch.tensor(way) * units * SMALL_PATH
    moved = Scene(pose[None], nearness, torch.zeros(1, 2, *nearness.shape)).displacement()
    return float(moved.norm(dim=1).mean()) / SMALL_PATH


def water(rng: Generator) -> Wind:
    """Long low swells, flatter than wide."""
    waves = []
    for _ in range(3):
        length, lean = rng.uniform(0.35, 0.8), rng.normal() * 0.5
        vector = (2 * math.pi / length * math.sin(lean), 2 * math.pi / length * math.cos(lean))
        size = rng.uniform(0.3, 0.6)
        rate, phase = rng.uniform(1.5, 3.0), rng.uniform(0, 2 * math.pi)
        waves.append(Wave(vector, (size * rng.normal() * 0.6, size), rate, phase))
    return Wind("water", tuple(waves), (rng.normal() * 0.3, 0.0))


def sky(rng: Generator) -> Wind:
    """Clouds drift to one side."""
    return Wind("sky", (), (_either(rng) * rng.uniform(0.9, 1.5), rng.normal() * 0.1))


def foliage(rng: Generator) -> Wind:
    """Leaves and stalks sway together, a little out of step."""
    waves = []
    for share in (0.9, 0.45):
        length, lean = rng.uniform(0.8, 1.8) * (1.2 - share / 2), rng.uniform(0, 2 * math.pi)
        vector = (2 * math.pi / length * math.cos(lean), 2 * math.pi / length * math.sin(lean))
        amount = (share, share * rng.normal() * 0.25)
        waves.append(Wave(vector, amount, rng.uniform(2.0, 4.5), rng.uniform(0, 2 * math.pi)))
    return Wind("foliage", tuple(waves))


WINDS: dict[str, Callable[[Generator], Wind]] = {"water": water, "sky": sky, "foliage": foliage}


def draw_fps(rng: Generator) -> float:
    """5 for most clips."""
    return FPS if rng.random() < 0.6 else float(rng.choice(OTHER_RATES))
