"""Noise schedules: functions that return the descending sigmas of a run, ending in 0."""

from __future__ import annotations

import torch
from torch import Tensor


def karras(num_inference_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364, eq. 5): ``[num_inference_steps + 1]``, float32, last one 0.

    Interpolates ``sigma ** (1 / rho)`` linearly from ``sigma_max`` to ``sigma_min``. Computed in float64
    and rounded once, as diffusers does, so that both samplers see the same numbers.
    """
    if num_inference_steps < 1:
        raise ValueError("num_inference_steps must be at least 1")
    ramp = torch.linspace(0, 1, num_inference_steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (high + ramp * (low - high)) ** rho
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)]).float()
