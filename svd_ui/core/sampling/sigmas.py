"""Noise schedules: functions that return the descending sigmas of a run, ending in 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...catalog.families.consistency import GRID
from ...catalog.families.svd import AYS_SVD


def karras(num_inference_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364, eq. 5): ``[num_inference_steps + 1]``, float32, last one 0.

    Interpolates ``sigma ** (1 / rho)`` linearly from ``sigma_max`` to ``sigma_min``. Computed in float64
    and rounded once, as diffusers does, so that both samplers see the same numbers.
    """
    if num_inference_steps < 1:
        raise ValueError("num_inference_steps must be at least 1")
    ramp = torch.linspace(0, 1, num_inference_steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _down_to_zero((high + ramp * (low - high)) ** rho)


def ays(num_inference_steps: int) -> Tensor:
    """The schedule of "Align Your Steps" (arXiv 2404.14507) for SVD: ``[num_inference_steps + 1]``, float32, last one 0.

    The published ten steps, or any other number by log-linear interpolation between them, as its authors advise.
    Like them it puts 0 in the place of the smallest sigma.
    """
    if num_inference_steps < 1:
        raise ValueError("num_inference_steps must be at least 1")
    if num_inference_steps == len(AYS_SVD) - 1:  # as printed: a logarithm and back would round
        return _down_to_zero(torch.tensor(AYS_SVD[:-1], dtype=torch.float64))
    known = torch.tensor(AYS_SVD, dtype=torch.float64).log()
    at = torch.linspace(0, len(AYS_SVD) - 1, num_inference_steps + 1, dtype=torch.float64)[:-1]
    below = at.long().clamp(max=len(AYS_SVD) - 2)
    return _down_to_zero(torch.lerp(known[below], known[below + 1], at - below).exp())


def consistency(num_inference_steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Every so many of the sigmas a consistency model was distilled on: ``[num_inference_steps + 1]``, last one 0.

    1 to ``GRID`` steps, all starting at ``sigma_max``.
    """
    if not 1 <= num_inference_steps <= GRID:
        raise ValueError(f"num_inference_steps must be from 1 to {GRID}")
    grid = karras(GRID, sigma_min, sigma_max)[:-1]
    stride = GRID // num_inference_steps
    return _down_to_zero(grid[::stride][:num_inference_steps])


def _down_to_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


Generators = torch.Generator | Sequence[torch.Generator]
"""One CPU generator for the batch, or one per clip."""


def seeded(seed: int) -> torch.Generator:
    """The generator of a request's ``seed``."""
    return torch.Generator("cpu").manual_seed(seed)


def gaussian(shape: Sequence[int], generators: Generators) -> Tensor:
    """Unit noise of ``shape`` (batch first). With a list, clip i is what generator i alone would give."""
    if isinstance(generators, torch.Generator):
        return torch.randn(*shape, generator=generators)
    if len(generators) != shape[0]:
        raise ValueError(f"{len(generators)} generators for a batch of {shape[0]}")
    return torch.cat([torch.randn(1, *shape[1:], generator=generator) for generator in generators])
