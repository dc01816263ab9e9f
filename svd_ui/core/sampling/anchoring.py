"""Where a clip is held to known content while it is made.

After "Time-to-Move: Training-Free Motion Controlled Video Generation via Dual-Clock Denoising" (arXiv 2511.08633, ICLR
2026). It noises the known content anew after each step; Euler's step from an estimate that is the known content gives the
same, so that a wrapper of the denoiser is all there is: no noise to keep, and a clip goes on from any step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .denoiser import Denoiser


def masked(denoiser: Denoiser, reference: Tensor, keep: Tensor, release: float, pull: float = 1.0) -> Denoiser:
    """``denoiser`` held to ``reference`` ``[B F C h w]`` by ``keep`` while sigma >= ``release``; below it ``denoiser`` alone.

    ``keep`` is 1 where the reference is held and 0 where the clip is free, and broadcasts to the reference: ``[F 1 h w]``,
    ``[1 F C h w]``, ``[h w]`` and so on. Where it is 1 everywhere, ``denoiser`` is not called above ``release``. With a
    ``release`` of 0 the finished clip is the reference to the bit where ``keep`` is 1, as its last step is held too.

    ``pull`` is how much farther than to the reference the estimate is moved where it is held; 1 is Time-to-Move. More says
    the same more firmly to a model that has settled on something else elsewhere: it adds up until the estimate agrees, and
    does nothing after that. Raises ValueError for a ``pull`` above 1 that nothing takes back: ``release`` has to be above 0.
    """
    if pull != 1 and release <= 0:
        raise ValueError("what is pulled beyond the reference has to be released")
    everywhere = bool((keep == 1).all())

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        if float(sigma) < release:
            return denoiser(x, sigma)
        known = reference.to(x).expand_as(x)
        return known if everywhere else torch.lerp(denoiser(x, sigma), known, pull * keep.to(x))

    return denoise
