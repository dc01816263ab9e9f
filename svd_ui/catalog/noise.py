"""Noise levels of a clip's steps in plain numbers, for those who must not load torch: what guidance will cost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..request import GenerationRequest
    from .checkpoint import CheckpointRow

AYS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Sabour et al. 2024, "Align Your Steps" (arXiv 2404.14507), appendix B: the schedule optimised for Stable Video
Diffusion, ten steps from its largest to its smallest sigma."""
SVD_RANGE = (0.002, 700.0)
RHO = 7.0
CONSISTENCY_GRID = 40
"""AnimateLCM-SVD-xt was distilled on this many Karras sigmas (github.com/G-U-N/AnimateLCM, its scheduler's
``num_train_timesteps``); it knows no others."""
LAST_SIGMA = 0.1
"""A walk that ends in a jump from above this sigma computes its last step whole, whatever it reuses before."""


def sigmas(row: CheckpointRow, request: GenerationRequest) -> list[float]:
    """The noise level of each step of a resolved ``request``, falling, in units of scaled latents."""
    steps = request.num_inference_steps or row.num_inference_steps
    if request.schedule == "ays" and row.knows_ays:
        return [_between(AYS_SVD, index * (len(AYS_SVD) - 1) / steps) for index in range(steps)]
    low, high = _range(row.folder)
    if row.sampler == "consistency":
        return _karras(CONSISTENCY_GRID, low, high)[:: max(1, CONSISTENCY_GRID // steps)][:steps]
    return _karras(steps, low, high)


def whole_steps(row: CheckpointRow, request: GenerationRequest) -> list[bool]:
    """Whether each step of a resolved ``request`` runs all layers, as ``core/sampling/feature_cache.py`` decides it."""
    interval, levels = request.cache_interval or 1, sigmas(row, request)
    last = len(levels) - 1 if levels[-1] > LAST_SIGMA else None
    return [index % interval == 0 or index == last for index in range(len(levels))]


def guided_steps(row: CheckpointRow, request: GenerationRequest) -> list[bool]:
    """Whether each step of a resolved ``request`` runs with guidance.

    The request's sigmas are for SVD's range of noise and scale with the checkpoint's, as in ``core/methods/plain.py``.
    """
    steps = request.num_inference_steps or row.num_inference_steps
    if (request.max_guidance_scale or 1.0) <= 1.0:
        return [False] * steps
    low, high = request.guidance_sigma_min, request.guidance_sigma_max
    if low is None and high is None:
        return [True] * steps
    scale = row.sigma_reference / SVD_RANGE[1]
    bounds = (-math.inf if low is None else low * scale, math.inf if high is None else high * scale)
    return [bounds[0] < sigma <= bounds[1] for sigma in sigmas(row, request)]


def _karras(steps: int, low: float, high: float) -> list[float]:
    """Karras et al. 2022 (arXiv 2206.00364, eq. 5)."""
    first, last = high ** (1 / RHO), low ** (1 / RHO)
    return [(first + index / max(1, steps - 1) * (last - first)) ** RHO for index in range(steps)]


def _between(known: tuple[float, ...], at: float) -> float:
    """``known`` at a fractional index, log-linearly interpolated."""
    below = min(int(at), len(known) - 2)
    a, b = math.log(known[below]), math.log(known[below + 1])
    return math.exp(a + (at - below) * (b - a))


def _range(folder: Path | None) -> tuple[float, float]:
    """(smallest, largest) sigma of a checkpoint's scheduler; SVD's where it does not say."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8")) if folder else {}
        return float(config.get("sigma_min") or SVD_RANGE[0]), float(config.get("sigma_max") or SVD_RANGE[1])
    except (OSError, ValueError, TypeError, AttributeError):
        return SVD_RANGE
