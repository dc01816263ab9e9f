"""Noise levels of a clip's steps in plain numbers, for those who must not load torch: what guidance will cost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..clip import ClipSpec

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


def sigmas(clip: ClipSpec) -> list[float]:
    """The noise level of each step of ``clip``, falling, in units of scaled latents."""
    row, steps = clip.row, clip.num_inference_steps
    if clip.schedule == "ays" and row.knows_ays:
        return [_between(AYS_SVD, index * (len(AYS_SVD) - 1) / steps) for index in range(steps)]
    low, high = _range(row.folder)
    if row.sampler == "consistency":
        return _karras(CONSISTENCY_GRID, low, high)[:: max(1, CONSISTENCY_GRID // steps)][:steps]
    return _karras(steps, low, high)


def whole_steps(clip: ClipSpec) -> list[bool]:
    """Whether each step of ``clip`` runs all layers, as ``core/sampling/feature_cache.py`` decides it."""
    levels = sigmas(clip)
    last = len(levels) - 1 if levels[-1] > LAST_SIGMA else None
    return [index % clip.cache_interval == 0 or index == last for index in range(len(levels))]


def guided_steps(clip: ClipSpec) -> list[bool]:
    """Whether each step of ``clip`` runs with guidance."""
    low, high = clip.guidance_interval
    return [clip.guided and low < sigma <= high for sigma in sigmas(clip)]


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
