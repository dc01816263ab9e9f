"""From one still to another: a model that continues a still, run from both ends.

A clip between two stills has to please two denoisers: one told about the still it begins with, and one told about the still
it ends with that sees time running backwards. Both are the model as it is: nothing is trained.

After two works. "ViBiDSampler: Enhancing Video Interpolation Using Bidirectional Diffusion Sampler" (Yang et al., ICLR 2025,
arXiv 2410.05651): a step asks one denoiser, noises anew, and asks the other. "Motion Prior Distillation in Time Reversal
Sampling for Generative Inbetweening" (Jeon et al., arXiv 2602.12679): at high noise, where the motion is settled, only the
first is asked, and its estimate is moved until it ends at the end. Two things differ from the latter here. Frame f of F is
moved by f / (F - 1) of what the last one is, where that work moves all alike, so that the first stays where it is and the
clip jumps nowhere. And the last frame is moved ``PULL`` times as far as it has to go: one frame in F says little against what
the noise of the others says of the motion. tests/core/sampling/test_bridge.py shows on an exact denoiser what each is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .denoiser import Denoiser, Pair
from .samplers import Step

DISTILLED_ABOVE = 40.0
"""SVD's sigma at and above which the motion comes from the first still alone; scales with a checkpoint's own levels."""
PULL = 9.0
"""How much farther than to the end the last frame is moved there: less than the noise, whose size is sigma.

Of 24 clips of 10 frames by an exact denoiser in 12 steps, 12 end well at 1, 18 at 3, 23 at 6 and all at 9; ViBiD alone: 9.
"""


def flipped(x: Tensor) -> Tensor:
    """``x`` ``[B F ...]`` with its frames in the other order: time reversal where a frame is a picture."""
    return x.flip(1)


def unguided(denoiser: Denoiser) -> Pair:
    """``denoiser`` as both estimates, for bridges without guidance or with that of ``guided``; called once for both."""

    def denoise(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        denoised = denoiser(x, sigma)
        return denoised, denoised

    return denoise


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
    pull: float = PULL,
) -> Iterator[Step]:
    """Walk ``x`` ``[B F C h w]`` down ``sigmas`` ``[N + 1]`` to a clip from ``z_start`` to ``z_end`` (each ``[B C h w]``).

    ``forward`` is told about the first still, ``backward`` about the last; ``backward`` gets ``reversed(x)``, and
    ``reversed`` undoes itself. ``noise`` returns fresh unit noise shaped like ``x``, once a step, also for the ``first``
    steps, which are done already: what follows is what it would have been. ``threshold`` and ``pull`` are as
    ``DISTILLED_ABOVE`` and ``PULL``; a ``threshold`` of infinity is ViBiD alone. The finished clip begins and ends with the
    stills to the bit.

    A step goes on by its own estimate from the unconditional one's noise, x' = D_c + (s' / s) (x - D_u), which is CFG++
    (arXiv 2406.08070) of scale 1, as both works have it; with ``unguided`` it is Euler's step. Raises ValueError for fewer
    than two frames.
    """
    if x.shape[1] < 2:
        raise ValueError("a bridge has two ends: it takes at least two frames")
    total = len(sigmas) - 1
    sigmas = sigmas.to(x.dtype)
    weights = torch.linspace(0, 1, x.shape[1], device=x.device, dtype=x.dtype)
    weights[-1] = pull
    weights = weights[:, None, None, None]
    for _ in range(first):
        noise()

    def pinned(denoised: Tensor) -> Tensor:
        return torch.cat([z_start[:, None], denoised[:, 1:-1], z_end[:, None]], 1)

    def distilled(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        denoised, without = forward(x, sigmas[index])
        moved = denoised + weights * (z_end - denoised[:, -1])[:, None]
        moved = torch.cat([z_start[:, None], moved[:, 1:]], 1)
        return _next(moved, x - without, sigmas, index), pinned(moved)

    def from_start(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        denoised, without = forward(x, sigmas[index])
        denoised = pinned(denoised)
        return _next(denoised, x - without, sigmas, index), denoised

    def from_end(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        denoised, without = (reversed(one) for one in backward(reversed(x), sigmas[index]))
        denoised = pinned(denoised)
        return _next(denoised, x - without, sigmas, index), denoised

    for index in range(first, total):
        # The step to 0 keeps what it is given, a pull beyond the end too: it is two-sided whatever the threshold.
        high = float(sigmas[index]) >= threshold and index + 1 < total
        x, _ = (distilled if high else from_start)(x, index)
        x = x + (sigmas[index].square() - sigmas[index + 1].square()).sqrt() * noise()
        x, denoised = (distilled if high else from_end)(x, index)
        yield Step(index + 1, total, x, denoised)


def _next(denoised: Tensor, residual: Tensor, sigmas: Tensor, index: int) -> Tensor:
    """Euler's step with a ``residual`` of its own: x - D_u."""
    return denoised + (sigmas[index + 1] / sigmas[index]) * residual
