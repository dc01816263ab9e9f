"""The training loss: EDM v-prediction of a scene, in units of the motion that is asked for.

Because weight * c_out^2 = 1 the loss is the plain mean square of the raw U-Net output against (r - c_skip x) / c_out
(Karras et al. 2022, arXiv 2206.00364). Each part of a scene counts by itself, so that what is large cannot drown what is
small: the camera, what is near, what stirs, and how; drifts where nothing stirs are not seen and hardly count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from svd_ui.core.families.warp_autoencoder import CAMERA, SCENE_CHANNELS, coherent, coherent_noise, parts_of
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
        held = x.new_zeros(*x.shape[:2], batch.stills.shape[1] - SCENE_CHANNELS, *x.shape[3:])
        sample = torch.cat([held, x * pre.c_in, cond.image_latents], dim=2)
        (v,) = unet(
            sample,
            pre.c_noise.flatten(),
            encoder_hidden_states=cond.image_embeds,
            added_time_ids=cond.added_time_ids,
            return_dict=False,
        )
        error = coherent(v[:, :, -SCENE_CHANNELS:].float() - (batch.told - pre.c_skip * x) / pre.c_out)
        return self._parts(error, batch.told[:, :1, CAMERA + 1 : CAMERA + 2])

    def _parts(self, error: Tensor, stirring: Tensor) -> dict[str, Tensor]:
        """``stirring`` [B 1 1 h w], in any unit."""
        camera, relief, drift = parts_of(error)
        camera, relief = camera[..., :1, :1], relief[:, :1]
        seen = UNSEEN + (1 - UNSEEN) * (stirring * 2).clamp(0, 1)
        drift = drift * seen
        return {
            "camera": _mean(camera) + _mean(camera.diff(dim=1)),
            "relief": _mean(relief) + self.steadiness * (_mean(relief.diff(dim=3)) + _mean(relief.diff(dim=4))) / 2,
            "drift": _mean(drift)
            + self.steadiness * (_mean(drift.diff(dim=1)) + _mean(drift.diff(dim=3)) + _mean(drift.diff(dim=4))) / 3,
        }


def _mean(values: Tensor) -> Tensor:
    """Mean square of [B ...]: [B]."""
    return values.square().flatten(1).mean(dim=1)
