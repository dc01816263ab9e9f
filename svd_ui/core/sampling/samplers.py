"""The samplers, one yield per step: Euler's method on the probability-flow ODE, and a consistency model's jumps; and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
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


def consistency(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: Callable[[], Tensor], first: int = 0
) -> Iterator[Step]:
    """Jump to the clean clip and noise it anew, less each time: x' = D + s' n (arXiv 2303.01469, algorithm 1).

    ``noise`` returns fresh unit noise shaped like ``x``, once between two steps. ``first`` skips the steps already
    done; their noise is drawn all the same, so that what follows is what it would have been.
    """
    total = len(sigmas) - 1
    for _ in range(first):
        noise()
    for index in range(first, total):
        x = denoised = denoiser(x, sigmas[index])
        if index + 1 < total:
            x = denoised + sigmas[index + 1] * noise()
        yield Step(index + 1, total, x, denoised)


def down_to_zero(sigmas: Sequence[float]) -> Tensor:
    """The levels of a clip's steps, and the 0 after them: ``[N + 1]``, float32, on the CPU.

    They come computed in float64 and are rounded once, as diffusers does, so that both samplers see the same numbers.
    """
    return torch.tensor([*sigmas, 0.0], dtype=torch.float32)


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
