"""Noise levels of a clip's steps in plain numbers, for those who must not load torch: what guidance will cost."""

from __future__ import annotations

import math

AYS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Sabour et al. 2024, "Align Your Steps" (arXiv 2404.14507), appendix B: the schedule optimised for Stable Video
Diffusion, ten steps from its largest to its smallest sigma."""
SVD_RANGE = (0.002, 700.0)
RHO = 7.0
LAST_SIGMA = 0.1
"""A walk that ends in a jump from above this sigma computes its last step whole, whatever it reuses before."""


def karras(steps: int, low: float, high: float) -> list[float]:
    """Karras et al. 2022 (arXiv 2206.00364, eq. 5), falling from ``high`` to ``low``."""
    first, last = high ** (1 / RHO), low ** (1 / RHO)
    return [(first + index / max(1, steps - 1) * (last - first)) ** RHO for index in range(steps)]


def ays(steps: int) -> list[float]:
    """``AYS_SVD``, or any other number of steps by log-linear interpolation, without the last sigma."""
    return [_between(AYS_SVD, index * (len(AYS_SVD) - 1) / steps) for index in range(steps)]


def _between(known: tuple[float, ...], at: float) -> float:
    """``known`` at a fractional index, log-linearly interpolated."""
    below = min(int(at), len(known) - 2)
    a, b = math.log(known[below]), math.log(known[below + 1])
    return math.exp(a + (at - below) * (b - a))
