"""A denoiser held to a reference where that is known."""

from __future__ import annotations

from torch import Tensor

from .denoiser import Denoiser


def masked(denoiser: Denoiser, reference: Tensor, keep: Tensor, release: float = 0.0) -> Denoiser:
    """``denoiser`` whose estimate is ``reference`` [B F C h w] where ``keep`` is 1, while sigma is at least ``release``.

    ``keep`` [B F C h w], or what broadcasts to it, is 0 to 1. Where it is 1 everywhere the denoiser is not called. Equal to
    putting the noised reference in after each step, as "Time-to-Move" does (arXiv 2511.08633), without noise to keep.
    """
    whole = bool((keep == 1).all())
    nothing = bool((keep == 0).all())

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        if nothing or float(sigma) < release:
            return denoiser(x, sigma)
        known, share = reference.to(x), keep.to(x)
        if whole:
            return known.expand_as(x).clone()
        return _mixed(denoiser(x, sigma), known, share)

    return denoise


def _mixed(own: Tensor, known: Tensor, share: Tensor) -> Tensor:
    """Known to the bit where its share is 1, own to the bit where it is 0."""
    return own * (1 - share) + known * share
