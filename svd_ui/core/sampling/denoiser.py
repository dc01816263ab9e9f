"""Denoisers and the wrappers that compose them.

A denoiser is any callable ``(x [B F C h w], sigma []) -> x0 [B F C h w]``. Parametrisation,
guidance and every control method are wrappers, so the sampler in ``samplers.py`` knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(x, sigma) -> (conditional x0, unconditional x0)``, for methods that need both."""
Skip = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(x, sigma) -> (guess, trust)``: x0 is guess + trust times the U-Net's raw output."""


class UNet(Protocol):
    """What we need of diffusers' ``UNetSpatioTemporalConditionModel``."""

    def __call__(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        return_dict: bool = ...,
    ) -> tuple[Tensor, ...]: ...


@dataclass(frozen=True)
class Conditioning:
    """What the U-Net is told about the still.

    image_embeds    [B 1 D]      CLIP embedding
    image_latents   [B F C h w]  VAE mode of the augmented still, **unscaled**, repeated over frames
    added_time_ids  [B 3]        (fps - 1, motion_bucket_id, noise_aug_strength)
    """

    image_embeds: Tensor
    image_latents: Tensor
    added_time_ids: Tensor

    def to(self, device: torch.device) -> Conditioning:
        """The same on ``device``."""
        return Conditioning(*(one.to(device) for one in (self.image_embeds, self.image_latents, self.added_time_ids)))

    def unconditional(self) -> Conditioning:
        """The same micro-conditioning with the picture taken away (zeros, as SVD was trained)."""
        return replace(
            self,
            image_embeds=torch.zeros_like(self.image_embeds),
            image_latents=torch.zeros_like(self.image_latents),
        )


@dataclass(frozen=True)
class Preconditioning:
    """EDM's v-prediction coefficients at one sigma (arXiv 2206.00364, table 1, sigma_data = 1)."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor
    c_noise: Tensor

    @classmethod
    def at(cls, sigma: Tensor) -> Preconditioning:
        """Coefficients for ``sigma`` of any shape, in float32."""
        sigma = sigma.float()
        variance = sigma.square() + 1
        return cls(
            c_in=variance.rsqrt(),
            c_skip=1 / variance,
            c_out=-sigma * variance.rsqrt(),
            c_noise=0.25 * sigma.log(),
        )


def edm_skip(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(c_skip x, c_out): what the U-Net's raw output is added to, and times what. ``sigma`` is [] or as long as ``x``."""
    pre = Preconditioning.at(sigma.reshape(-1, 1, 1, 1, 1) if sigma.dim() else sigma)
    return pre.c_skip * x, pre.c_out


def all_of(x: Tensor) -> Tensor:
    """``x``: the U-Net sees all that is diffused."""
    return x


def svd_denoiser(
    unet: UNet,
    cond: Conditioning,
    dtype: torch.dtype,
    shown: Callable[[Tensor], Tensor] = all_of,
    skip: Skip = edm_skip,
) -> Denoiser:
    """v-prediction preconditioning around the U-Net: x0 = c_skip x + c_out unet(c_in x, c_noise).

    The U-Net runs in ``dtype``; the estimate is combined and returned in x's own dtype (fp32). ``shown`` is what the U-Net
    sees of c_in x; ``skip`` is for families that know more of the clip than c_skip x.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        pre = Preconditioning.at(sigma)
        sample = torch.cat([shown(x * pre.c_in).to(dtype), cond.image_latents.to(dtype)], dim=2)
        (v,) = unet(
            sample,
            pre.c_noise,
            encoder_hidden_states=cond.image_embeds.to(dtype),
            added_time_ids=cond.added_time_ids.to(dtype),
            return_dict=False,
        )
        guess, trust = skip(x, sigma)
        return guess + trust * v.to(x.dtype)

    return denoise


def sequential_cfg(conditional: Denoiser, unconditional: Denoiser) -> Pair:
    """Both estimates one after the other: half the activations of ``batched_cfg``, the same result."""
    return lambda x, sigma: (conditional(x, sigma), unconditional(x, sigma))


def batched_cfg(batched: Denoiser) -> Pair:
    """Both estimates from one call of a denoiser conditioned on ``concatenated(conditional, unconditional)``."""

    def denoise(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        c, u = batched(torch.cat([x, x]), sigma).chunk(2)
        return c, u

    return denoise


def concatenated(a: Conditioning, b: Conditioning) -> Conditioning:
    """Two conditionings as one batch, a first."""
    return Conditioning(
        image_embeds=torch.cat([a.image_embeds, b.image_embeds]),
        image_latents=torch.cat([a.image_latents, b.image_latents]),
        added_time_ids=torch.cat([a.added_time_ids, b.added_time_ids]),
    )


def guided(pair: Pair, scale: Tensor) -> Denoiser:
    """Classifier-free guidance, one scale per frame (``scale`` is ``[F]``): u + scale (c - u)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        c, u = pair(x, sigma)
        return u + scale.to(x)[None, :, None, None, None] * (c - u)

    return denoise


def cfg_interval(guided: Denoiser, conditional: Denoiser, low: float, high: float) -> Denoiser:
    """``guided`` where low < sigma <= high, elsewhere ``conditional`` alone, at half the cost.

    Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval" (arXiv 2404.07724, eq. 5): at high noise
    guidance narrows what can come out, at low noise it changes nothing.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return (guided if low < float(sigma) <= high else conditional)(x, sigma)

    return denoise
