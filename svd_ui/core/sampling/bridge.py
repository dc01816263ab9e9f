"""From one still to another: a model that continues a still, run from both ends.

A clip between two stills has to please two denoisers: one told about the still it begins with, and one told about the still
it ends with that sees time running backwards. Both are the model as it is, so that nothing is trained.

After "ViBiDSampler: Enhancing Video Interpolation Using Bidirectional Diffusion Sampler" (Yang et al., ICLR 2025,
arXiv 2410.05651), whose steps ask one after the other, and for the high noise, where the motion is settled, after "Motion
Prior Distillation in Time Reversal Sampling for Generative Inbetweening" (Jeon et al., arXiv 2602.12679), whose steps ask
only the first and move its estimate until it ends at the end. That work moves all frames alike; here frame f of F moves by
f / (F - 1) of it, so that the first stays where it is and none is where the clip jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .denoiser import Denoiser, Pair
from .samplers import Step

DISTILLED_ABOVE = 93.0
"""SVD's sigma at and above which the motion comes from the first still alone; scales with a checkpoint's own levels."""
ROUNDS = 3
"""How often a step above it is done, noised anew between."""


def flipped(x: Tensor) -> Tensor:
    """``x`` ``[B F ...]`` with its frames in the other order: time reversal where a frame is a picture."""
    return x.flip(1)


def unguided(denoiser: Denoiser) -> Pair:
    """``denoiser`` as both estimates, for bridges without guidance or with that of ``guided``; called once for both."""

    def denoise(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        denoised = denoiser(x, sigma)
        return denoised, denoised

    return denoise


def bridge_calls(sigmas: Tensor, threshold: float = DISTILLED_ABOVE) -> int:
    """How many calls of a pair ``bridge`` makes down ``sigmas`` ``[N + 1]``; the plain clip makes N."""
    levels = sigmas[:-1].tolist()
    return sum(ROUNDS if sigma >= threshold else 2 for sigma in levels)


def bridge(
    forward: Pair,
    backward: Pair,
    x: Tensor,
    sigmas: Tensor,
    noise: Callable[[], Tensor],
    z_start: Tensor,
    z_end: Tensor,
    threshold: float = DISTILLED_ABOVE,
    reversed: Callable[[Tensor], Tensor] = flipped,
    first: int = 0,
) -> Iterator[Step]:
    """Walk ``x`` ``[B F C h w]`` down ``sigmas`` ``[N + 1]`` to a clip from ``z_start`` to ``z_end`` (each ``[B C h w]``).

    ``forward`` is told about the first still, ``backward`` about the last; ``backward`` gets ``reversed(x)``, and
    ``reversed`` undoes itself. ``noise`` returns fresh unit noise shaped like ``x``, twice a step at and above
    ``threshold`` and once below it. ``first`` skips the steps already done; their noise is drawn all the same, so that what
    follows is what it would have been. The last step's latents begin and end with the stills exactly.

    A step goes on by its own estimate from the unconditional one's noise, x' = D_c + (s' / s) (x - D_u), which is CFG++
    (arXiv 2406.08070) of scale 1, as both papers have it; with ``unguided`` it is Euler's step.
    """
    total = len(sigmas) - 1
    levels = sigmas.tolist()
    for sigma in levels[:first]:
        for _ in range(_draws(sigma, threshold)):
            noise()
    tilt = torch.linspace(0, 1, x.shape[1], device=x.device, dtype=x.dtype)[:, None, None, None]

    def pinned(denoised: Tensor) -> Tensor:
        return torch.cat([z_start[:, None], denoised[:, 1:-1], z_end[:, None]], 1)

    def distilled(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        denoised, without = forward(x, sigmas[index])
        denoised = pinned(denoised + tilt * (z_end - denoised[:, -1])[:, None])
        return denoised + sigmas[index + 1] / sigmas[index] * (x - without), denoised

    def two_sided(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        ratio = sigmas[index + 1] / sigmas[index]
        denoised, without = forward(x, sigmas[index])
        x = again(pinned(denoised) + ratio * (x - without), index)
        denoised, without = (reversed(one) for one in backward(reversed(x), sigmas[index]))
        denoised = pinned(denoised)
        return denoised + ratio * (x - without), denoised

    def again(x: Tensor, index: int) -> Tensor:
        """From the next step's noise back to this one's."""
        return x + (sigmas[index].square() - sigmas[index + 1].square()).sqrt() * noise()

    for index in range(first, total):
        if levels[index] >= threshold:
            for _ in range(ROUNDS - 1):
                x = again(distilled(x, index)[0], index)
            x, denoised = distilled(x, index)
        else:
            x, denoised = two_sided(x, index)
        yield Step(index + 1, total, x, denoised)


def _draws(sigma: float, threshold: float) -> int:
    """How often a step at ``sigma`` draws noise."""
    return ROUNDS - 1 if sigma >= threshold else 1
