"""A scene beyond its last frame: the camera goes on as it went, and what stirs does so in whole cycles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CYCLES = 3
"""Of what stirs, in the time of the clip it was made for, at most."""
FAR = (0.5, 0.28, 0.7, 0.25, 0.35)
"""How far a camera goes before it turns back: pan x and y, log zoom, roll and arc, as ``Scene.pose``."""
FAR_BACK = 0.3
"""The same for a zoom outwards, which shows what has to be painted."""
CORNER = 0.97
"""How sharply it turns, below 1."""


def carried_on(pose: Tensor, frames: int) -> Tensor:
    """``pose`` [F 5] => [frames 5]; the first are the same up to the fastest step."""
    steps = pose.diff(dim=0)
    fastest = int(steps.norm(dim=1).argmax())
    going = torch.cat([steps[: fastest + 1], steps[fastest : fastest + 1].expand(max(0, frames - 2 - fastest), -1)])
    path = torch.cat([pose[:1], pose[:1] + going.cumsum(dim=0)])[:frames]
    far = torch.tensor(FAR).to(pose).expand_as(path).clone()
    far[:, 2] = torch.where(path[:, 2] < 0, FAR_BACK, far[:, 2])
    within = (path.abs() <= far / 2).all(dim=0)  # which never comes near a corner is left as it is
    return torch.where(within, path, _there_and_back(path, far))


def _there_and_back(way: Tensor, far: Tensor) -> Tensor:
    """An even way that turns round ``far`` from rest: a triangle's wave with round corners."""
    turned: Tensor = (CORNER * (way / far * (math.pi / 2)).sin()).asin() / (math.pi / 2)
    there: Tensor = far * turned / (math.asin(CORNER) / (math.pi / 2))
    return there


def whole_cycles(drift: Tensor, period: float, frames: int) -> Tensor:
    """``drift`` [F 2 h w] as swings of whole cycles in ``period`` frames, at rest in the first: [frames 2 h w].

    Least squares; how far it swings stays as it was.
    """
    count = min(CYCLES, max(1, (len(drift) - 1) // 3))
    basis = _swings(torch.arange(len(drift)).to(drift) * (2 * math.pi / period), count)
    wanted = drift.flatten(1)
    # Quick swings count less: a drift that only goes one way would else snap back at the end of each period.
    slow = torch.arange(1, count + 1).to(drift).repeat(2) ** 4
    gram = basis.T @ basis + 0.1 * len(drift) * torch.diag(slow)
    found = torch.linalg.solve(gram, basis.T @ (wanted - wanted.mean(dim=0)))
    much = wanted.std(dim=0, correction=0) / (basis @ found).std(dim=0, correction=0).clamp_min(1e-6)
    found = found * much.clamp(0.5, 2)
    later = _swings(torch.arange(frames).to(drift) * (2 * math.pi / period), count) @ found
    swung: Tensor = (later - later[:1]).view(frames, *drift.shape[1:])
    return swung


def _swings(turns: Tensor, count: int) -> Tensor:
    """[N] => [N 2 count]"""
    cycles = turns[:, None] * torch.arange(1, count + 1).to(turns)
    return torch.cat([cycles.sin(), cycles.cos()], dim=1)
