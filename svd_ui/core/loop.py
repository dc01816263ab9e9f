"""The sampler: Euler's method on the probability-flow ODE, one yield per step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .denoiser import Denoiser


@dataclass(frozen=True)
class Step:
    """One finished step: ``index`` runs 1..total; ``latents`` and ``denoised`` are ``[B F C h w]``."""

    index: int
    total: int
    latents: Tensor
    denoised: Tensor


def euler(denoiser: Denoiser, x: Tensor, sigmas: Tensor, first: int = 0) -> Iterator[Step]:
    """Walk ``x`` down ``sigmas`` ``[N + 1]``: x' = D + (s' / s) (x - D).

    ``first`` skips the steps already done, to go on from kept latents. Closing the generator stops
    the run; nothing is held after it.
    """
    total = len(sigmas) - 1
    for index in range(first, total):
        denoised = denoiser(x, sigmas[index])
        x = denoised + (sigmas[index + 1] / sigmas[index]) * (x - denoised)
        yield Step(index + 1, total, x, denoised)
