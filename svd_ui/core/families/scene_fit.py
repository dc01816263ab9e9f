"""Measured motion, told apart into a scene: a camera, what is near, and what stirs by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import PARALLAX, Scene, grid, looked_up

ROUNDS = 8
"""Of reweighted least squares: enough for half the cells to disagree."""
KNOWN_SHIFT = 0.01
"""Halves of the longer side that the camera must have moved a cell, root mean square, before it tells how near it is."""
STIRRING = (0.002, 0.006)
"""What is left of a cell's motion, root mean square: below the first it is taken for noise, from the second on it stirs."""


def fitted(flow: Tensor) -> tuple[Scene, Tensor]:
    """Where each cell looks less its own place, ``[F 2 h w]`` in halves of the longer side => (scene, stirring [h w])."""
    height, width = flow.shape[-2:]
    here = grid(height, width, flow)
    pose = torch.stack([_camera(here, here + frame) for frame in flow])
    rigid = Scene(pose, torch.zeros_like(here[0]), torch.zeros_like(flow)).displacement()
    before = _undone(pose, here)
    shift = here - before
    left = looked_up(flow - rigid, before)  # of what is seen there, not of where it is seen
    known = shift.square().sum(dim=(0, 1)) + len(flow) * KNOWN_SHIFT**2
    nearness = ((left * shift).sum(dim=(0, 1)) / (PARALLAX * known)).clamp(-1, 1)
    nearness = nearness - nearness.mean()
    left = left - PARALLAX * nearness * shift
    size = left.square().sum(dim=1).mean(dim=0).sqrt()
    stirring = ((size - STIRRING[0]) / (STIRRING[1] - STIRRING[0])).clamp(0, 1)
    return Scene(pose, nearness, left), stirring


def _undone(pose: Tensor, places: Tensor) -> Tensor:
    """The points [F 2 h w] from which the camera of each frame looks at ``places`` [2 h w]."""
    pan, zoom, roll = pose[:, :2, None, None], pose[:, 2], pose[:, 3]
    away = places - pan
    cos, sin = (zoom.exp() * roll.cos())[:, None, None], (zoom.exp() * roll.sin())[:, None, None]
    return torch.stack([cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]], dim=1)


def _camera(here: Tensor, seen: Tensor) -> Tensor:
    """Points [2 h w] and where they look [2 h w] => the similarity that most agree on: pan x, pan y, log zoom, roll, arc.

    Least squares, each cell weighted by one over its own error (iteratively: a median of sorts). The arc stays 0.
    """
    x, y = here.flatten(1).double()
    u, v = seen.flatten(1).double()
    one, nil = torch.ones_like(x), torch.zeros_like(x)
    # u = a x - b y + px, v = b x + a y + py
    rows = torch.stack([torch.stack([x, -y, one, nil], dim=1), torch.stack([y, x, nil, one], dim=1)])
    wanted = torch.stack([u, v])
    weight = torch.ones_like(x)
    for _ in range(ROUNDS):
        scaled = rows * weight[None, :, None]
        solution = torch.linalg.lstsq(scaled.flatten(0, 1), (wanted * weight).flatten()[:, None]).solution[:, 0]
        error = (wanted - rows @ solution).square().sum(dim=0).sqrt()
        weight = (error + 1e-4).rsqrt()
    a, b, pan_x, pan_y = solution
    zoom, roll = -torch.hypot(a, b).clamp_min(1e-3).log(), torch.atan2(b, a)
    return torch.stack([pan_x, pan_y, zoom, roll, torch.zeros_like(roll)]).float()
