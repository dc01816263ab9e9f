"""What fine-tuning minimises: the sampler's own preconditioning, seen from the other side.

With the weight 1 / c_out^2 the EDM loss is the plain mean square of the raw U-Net output against
(x0 - c_skip x) / c_out (Karras et al. 2022, arXiv 2206.00364). Noise levels, noise on the still and dropouts are
those that Stable Video Diffusion was trained with (arXiv 2311.15127, appendix D, and its published configuration).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...catalog import CheckpointRow
from ..families import verbs_of
from ..families.svd import FamilyVerbs
from ..sampling.denoiser import Conditioning, Preconditioning, UNet


@dataclass(frozen=True)
class ClipBatch:
    """One batch of what is cached: clean clips and their labels.

    latents   [B F C h w]  scaled
    embeds    [B 1 D]      CLIP embedding of the first frame
    stills    [B 3 H W]    the first frame in [-1, 1], clean
    fps       [B]
    buckets   [B]          motion_bucket_id
    """

    latents: Tensor
    embeds: Tensor
    stills: Tensor
    fps: Tensor
    buckets: Tensor


@dataclass(frozen=True)
class Draw:
    """The randomness of one batch: everything that differs when the same clips come again.

    sigma [B], noise [B F C h w], strength [B] of the pixel noise still_noise [B 3 H W] on the still, and which
    conditions are taken away, [B] bool each.
    """

    sigma: Tensor
    noise: Tensor
    strength: Tensor
    still_noise: Tensor
    without_embeds: Tensor
    without_still: Tensor


@dataclass(frozen=True)
class DiffusionLoss:
    """sigma = exp(mean + std n) by ``row.train_sigma``, strength = exp(-3 + 0.5 n); the row's family says what is diffused.

    ``dropout`` p: one draw r takes the embedding away for r < 2p and the still for p <= r < 3p, so each is missing
    in 2p of the clips and both in p of them. Where the estimate is added to the still, that is never taken away.
    Channels that are not diffused cost nothing.
    """

    row: CheckpointRow
    strength_mean: float = -3.0
    strength_std: float = 0.5
    dropout: float = 0.1

    def draw(self, clips: ClipBatch, generator: torch.Generator) -> Draw:
        """All from ``generator``, on the CPU."""
        count = len(clips.latents)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        share = torch.rand(count, generator=generator)
        p, (mean, std) = self.dropout, self.row.train_sigma
        return Draw(
            sigma=(mean + std * normal(count)).exp(),
            noise=normal(*clips.latents.shape),
            strength=(self.strength_mean + self.strength_std * normal(count)).exp(),
            still_noise=normal(*clips.stills.shape),
            without_embeds=share < 2 * p,
            without_still=(share >= p) & (share < 3 * p) & torch.tensor(not self._family.keeps_still),
        )

    def conditioning(self, clips: ClipBatch, draw: Draw, still_latents: Tensor) -> Conditioning:
        """``still_latents`` [B C h w]: the noisy still encoded, **unscaled**, as the sampler's."""
        embeds = clips.embeds * _keep(draw.without_embeds, clips.embeds)
        still = still_latents * _keep(draw.without_still, still_latents)
        ids = torch.stack([clips.fps - 1, clips.buckets, draw.strength.to(clips.fps)], dim=1)
        frames = clips.latents.shape[1]
        return Conditioning(embeds, still[:, None].expand(-1, frames, -1, -1, -1), ids)

    def loss(self, unet: UNet, clips: ClipBatch, draw: Draw, cond: Conditioning, scaling_factor: float) -> Tensor:
        """Mean square per clip, ``[B]``, in float32. ``scaling_factor`` takes the still to scaled latents."""
        still = cond.image_latents * scaling_factor
        x0 = self._family.diffused(self.row, clips.latents, still, cond.added_time_ids)
        sigma = draw.sigma.to(x0)[:, None, None, None, None]
        pre = Preconditioning.at(sigma)
        x = x0 + sigma * self._family.noise(self.row, draw.noise.to(x0))
        (v,) = unet(
            torch.cat([x * pre.c_in, cond.image_latents], dim=2),
            pre.c_noise.flatten(),
            encoder_hidden_states=cond.image_embeds,
            added_time_ids=cond.added_time_ids,
            return_dict=False,
        )
        wanted = (x0 - pre.c_skip * x) / pre.c_out
        held = self._family.held(self.row, x0.shape[2])
        error = self._family.coherent(self.row, v.float() - wanted)
        return error[:, :, held:].square().mean(dim=(1, 2, 3, 4))

    @property
    def _family(self) -> FamilyVerbs:
        return verbs_of(self.row)


def _keep(without: Tensor, like: Tensor) -> Tensor:
    """1 where a condition stays and 0 where not, shaped to multiply ``like [B ...]``."""
    return (~without).to(like).view(-1, *[1] * (like.ndim - 1))
