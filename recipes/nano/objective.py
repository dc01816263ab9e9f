"""The training loss: what is near and what stirs is told by the still alone; how it stirs is diffused.

Drifts are EDM's v-prediction in units of the motion that is asked for: because weight * c_out^2 = 1 the loss is the plain
mean square of the raw U-Net output against (r - c_skip x) / c_out (Karras et al. 2022, arXiv 2206.00364). Where nothing
stirs they are not seen and hardly count. The camera needs no training: the estimate among the moves that are known is
exact (``svd_ui/core/families/camera_moves.py``), and what the U-Net adds to it stays nothing until fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from svd_ui.core.families.warp_autoencoder import SCENE_CHANNELS, coherent, coherent_noise, parts_of
from svd_ui.core.sampling.denoiser import Conditioning, Preconditioning, UNet

UNSEEN = 0.05
"""Weight of a drift where nothing stirs."""


@dataclass(frozen=True)
class Batch:
    """stills [B C h w] scaled latents; told [B F 9 h w]: the scene's channels; embeds [B 1 D]; labels [B 2] (fps, bucket)."""

    stills: Tensor
    told: Tensor
    embeds: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Objective:
    """How clips are turned into a loss. ``sigma`` is log-normal.

    ``steadiness`` weighs how the error differs between neighbours in space, and of drifts in time: what bends or trembles
    is seen more than what is a little too slow.
    """

    sigma_mean: float = 1.0
    sigma_std: float = 1.6
    dropout: float = 0.05
    steadiness: float = 4.0

    def draw_sigma(self, inside: Tensor, order: Tensor) -> Tensor:
        """[B], stratified so that every batch covers low and high noise; both arguments are uniform in 0..1, [B]."""
        shares = (torch.arange(len(inside), device=inside.device) + inside) / len(inside)
        normal = torch.special.ndtri(shares.clamp(1e-4, 1 - 1e-4))
        sigma: Tensor = (self.sigma_mean + self.sigma_std * normal[order.argsort()]).exp()
        return sigma

    def conditioning(self, batch: Batch, still_noise: Tensor, strength: Tensor, keep: Tensor) -> Conditioning:
        """``still_noise`` [B C h w]: encoded unit pixel noise; ``strength`` [B]; ``keep`` [B]: 0 takes the embedding away."""
        still = batch.stills + strength[:, None, None, None] * still_noise
        time_ids = torch.stack([batch.labels[:, 0] - 1, batch.labels[:, 1], strength], dim=1)
        return Conditioning(
            image_embeds=batch.embeds * keep[:, None, None],
            image_latents=still[:, None].expand(-1, batch.told.shape[1], -1, -1, -1),
            added_time_ids=time_ids,
        )

    def loss(self, unet: UNet, batch: Batch, cond: Conditioning, sigma: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per clip [B], by part. ``noise`` has the shape of what is told, and is unit noise."""
        level = sigma[:, None, None, None, None]
        pre = Preconditioning.at(level)
        x = batch.told + level * coherent_noise(noise)
        camera, relief, drift = parts_of(x)
        shown = torch.cat([camera * pre.c_in, torch.zeros_like(relief), drift * pre.c_in], dim=2)
        held = x.new_zeros(*x.shape[:2], batch.stills.shape[1] - SCENE_CHANNELS, *x.shape[3:])
        (v,) = unet(
            torch.cat([held, shown, cond.image_latents], dim=2),
            pre.c_noise.flatten(),
            encoder_hidden_states=cond.image_embeds,
            added_time_ids=cond.added_time_ids,
            return_dict=False,
        )
        _, told, moving = parts_of(coherent(v[:, :, -SCENE_CHANNELS:].float()))
        _, true, stirred = parts_of(batch.told)
        seen = UNSEEN + (1 - UNSEEN) * (true[:, :1, 1:2] * 2).clamp(0, 1)
        return self._parts((told - true)[:, :1], (moving - (stirred - pre.c_skip * drift) / pre.c_out) * seen)

    def _parts(self, relief: Tensor, drift: Tensor) -> dict[str, Tensor]:
        """Errors of nearness and stirring [B 1 2 h w] and of drifts [B F 2 h w] => losses [B]."""
        across = (_mean(relief.diff(dim=3)) + _mean(relief.diff(dim=4))) / 2
        around = (_mean(drift.diff(dim=1)) + _mean(drift.diff(dim=3)) + _mean(drift.diff(dim=4))) / 3
        return {"relief": _mean(relief) + across, "drift": _mean(drift) + self.steadiness * around}


def _mean(values: Tensor) -> Tensor:
    """Mean square of [B ...]: [B]."""
    return values.square().flatten(1).mean(dim=1)
