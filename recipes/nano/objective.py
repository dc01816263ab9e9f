"""The training loss: EDM v-prediction on the difference from the still.

The target of a clip with latents z is r = (z - z_0) / scale: how it differs from its own first frame. Because
weight * c_out^2 = 1 the loss is the plain mean square of the raw U-Net output against (r - c_skip x) / c_out (Karras et al. 2022, arXiv 2206.00364).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from svd_ui.core.sampling.denoiser import Conditioning, Preconditioning, UNet

CELLS = 18 * 32
"""Of a native frame."""


@dataclass(frozen=True)
class Batch:
    """latents [B F C h w] scaled; embeds [B 1 D]; labels [B 2] (fps, motion bucket)."""

    latents: Tensor
    embeds: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Objective:
    """How clips are turned into a loss. ``sigma`` is log-normal, in units of the residual, for ``CELLS`` cells a frame.

    It spans the noise levels where motion is decided, the higher the more cells a frame has: what is the same in all
    of them is drowned later (Hoogeboom et al. 2023, "simple diffusion", arXiv 2301.11093). Only the last two channels
    count, the motion: the others stay the still's. ``steadiness`` weighs how the error differs between neighbours in time and
    space: what trembles is seen more than what is a little too slow.
    """

    residual_scale: float
    sigma_mean: float = 2.8
    sigma_std: float = 1.4
    dropout: float = 0.05
    steadiness: float = 4.0

    def draw_sigma(self, count: int, cells: int, generator: torch.Generator) -> Tensor:
        """[B] for frames of ``cells``, stratified so that every batch covers low and high noise."""
        shares = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        normal = torch.special.ndtri(shares.clamp(1e-4, 1 - 1e-4))
        order = torch.randperm(count, generator=generator)
        sigma: Tensor = (self.sigma_mean + self.sigma_std * normal[order]).exp() * math.sqrt(cells / CELLS)
        return sigma

    def conditioning(
        self, batch: Batch, still_noise: Tensor, strength: Tensor, generator: torch.Generator
    ) -> Conditioning:
        """``still_noise`` [B C h w]: encoded unit pixel noise; ``strength`` [B]."""
        still = batch.latents[:, 0] + strength[:, None, None, None] * still_noise
        keep = (torch.rand(len(still), generator=generator) >= self.dropout).to(still)
        time_ids = torch.stack([batch.labels[:, 0] - 1, batch.labels[:, 1], strength], dim=1)
        return Conditioning(
            image_embeds=batch.embeds * keep[:, None, None],
            image_latents=still[:, None].expand_as(batch.latents),
            added_time_ids=time_ids,
        )

    def loss(self, unet: UNet, batch: Batch, cond: Conditioning, sigma: Tensor, noise: Tensor) -> Tensor:
        """Per-clip loss [B]. ``noise`` has the shape of the latents."""
        pre = Preconditioning.at(sigma[:, None, None, None, None])
        residual = (batch.latents - batch.latents[:, :1]) / self.residual_scale  # the noise on the still stays
        x = residual + sigma[:, None, None, None, None] * noise
        sample = torch.cat([x * pre.c_in, cond.image_latents], dim=2)
        (v,) = unet(
            sample,
            pre.c_noise.flatten(),
            encoder_hidden_states=cond.image_embeds,
            added_time_ids=cond.added_time_ids,
            return_dict=False,
        )
        target = (residual - pre.c_skip * x) / pre.c_out
        error = (v - target)[:, :, -2:]
        return error.square().mean(dim=(1, 2, 3, 4)) + self.steadiness * _roughness(error)


def _roughness(error: Tensor) -> Tensor:
    """Mean square of the differences between neighbouring frames, rows and columns of [B F 2 h w]: [B]."""
    return torch.stack([error.diff(dim=axis).square().mean(dim=(1, 2, 3, 4)) for axis in (1, 3, 4)]).mean(dim=0)
