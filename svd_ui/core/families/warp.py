"""Checkpoints that move the still's own pixels, in torch: the difference from the still is diffused.

Where the row has ``motion_paths``, the last latent channels hold a scene (``warp_autoencoder.py``) and nothing else is
diffused, in units of the motion that is asked for. So the dial is exact whatever the network has learnt, and it sees
moves of one size. What is one number for a frame, or for a clip, has one number's noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...catalog.families.warp import camera_speed
from ..sampling.denoiser import Conditioning, Denoiser, residual
from .scene import ARC, grid
from .svd import Decoder, FamilyVerbs, Floats, linear_colours
from .warp_autoencoder import MOTION_GAIN, SCENE_CHANNELS, WarpAutoencoder, coherent, coherent_noise, moved, scene_of

if TYPE_CHECKING:
    from ...catalog import CheckpointRow
    from ..runtime import Runtime

MEAN_DEPTH = 0.25
"""How far from its middle depth a picture is in the mean: what an arc moves."""
NEAR_UNIT, STIR_UNIT = 0.3, 0.4
FULL_DRIFT = 0.016
"""Halves of the longer side that what stirs swings at a motion of 255."""


class WarpDecoder(Decoder):
    """Moves the still's pixels. How far is added up from frame to frame, so it looks at the clip from its beginning."""

    def __init__(self, runtime: Runtime, still: Tensor) -> None:
        super().__init__(runtime)
        self._still = still.to(runtime.device)

    def pixels(self, latents: Tensor, first: int = 0, dtype: torch.dtype | None = None) -> Tensor:
        raw = latents.float() / self.runtime.scaling_factor
        with self.runtime.use("vae", dtype) as vae:
            raw = raw.to(self.runtime.device, vae.dtype)
            pixels: Tensor = vae.decode(raw, num_frames=len(raw), still=self._still, first=first).sample
        return pixels.float()


class WarpVerbs(FamilyVerbs):
    """See ``catalog/families/warp.py``. The autoencoder may also be SVD's, whose frames are decoded as SVD's are."""

    keeps_still = True

    def start(
        self, runtime: Runtime, sigmas: Tensor, cond: Conditioning, noise: Tensor, around_still: bool = True
    ) -> Tensor:
        """The noise lies around the still: what is diffused is the difference, of mean zero."""
        around = cond.image_latents * runtime.scaling_factor if around_still else 0
        noise = self.noise(runtime.row, noise) * self._units(runtime.row, cond.added_time_ids, noise).to(noise)
        return super().start(runtime, sigmas, cond, noise) + around

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """The latents of the still stay: the estimate is added to them."""
        return replace(cond, image_embeds=torch.zeros_like(cond.image_embeds))

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        still = cond.image_latents * runtime.scaling_factor
        inner = super().denoiser(runtime, unet, cond)
        if not runtime.row.motion_paths:
            return residual(inner, still, runtime.row.residual_scale)
        units = self._units(runtime.row, cond.added_time_ids, still)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            base = still.to(x)
            told = self.coherent(runtime.row, inner((x - base) / units, sigma))
            told[:, :, :-SCENE_CHANNELS] = 0
            return base + units * told

        return denoise

    def decoder(self, runtime: Runtime, still: Tensor) -> Decoder:
        return WarpDecoder(runtime, still) if isinstance(runtime.vae, WarpAutoencoder) else Decoder(runtime)

    def colours(self, row: CheckpointRow, latents: Tensor) -> Floats:
        """Where the row has ``motion_paths``, the colours of the places that the middle frame looks at."""
        if not row.motion_paths:
            return super().colours(row, latents)
        latents = latents.float().cpu()
        still = torch.from_numpy(linear_colours(row, latents[0].numpy())).permute(2, 0, 1)[None]
        scene = scene_of(latents).at(torch.tensor([len(latents) // 2]))
        return moved(still, scene.places(*latents.shape[-2:]))[0].permute(1, 2, 0).numpy()

    def encode_clip(self, runtime: Runtime, frames: Tensor) -> Tensor:
        """The clip whole: motion is measured in it."""
        if not isinstance(runtime.vae, WarpAutoencoder):
            return super().encode_clip(runtime, frames)
        with runtime.use("vae") as vae:
            latents: Tensor = vae.encode_clip(frames.float().to(runtime.device))
        return latents

    def diffused(self, row: CheckpointRow, latents: Tensor, still: Tensor, time_ids: Tensor) -> Tensor:
        units = self._units(row, time_ids, latents) if row.motion_paths else row.residual_scale
        return (latents - still) / units

    def held(self, row: CheckpointRow, channels: int) -> int:
        """All but the scene, where that is all there is to diffuse."""
        return channels - SCENE_CHANNELS if row.motion_paths else 0

    def noise(self, row: CheckpointRow, noise: Tensor) -> Tensor:
        if not row.motion_paths:
            return noise
        return torch.cat([noise[:, :, :-SCENE_CHANNELS], coherent_noise(noise[:, :, -SCENE_CHANNELS:])], dim=2)

    def coherent(self, row: CheckpointRow, values: Tensor) -> Tensor:
        if not row.motion_paths:
            return values
        return torch.cat([values[:, :, :-SCENE_CHANNELS], coherent(values[:, :, -SCENE_CHANNELS:])], dim=2)

    def _units(self, row: CheckpointRow, time_ids: Tensor, latents: Tensor) -> Tensor:
        """What 1 in the U-Net stands for in ``latents`` [B F C h w], for each clip and channel: [B 1 C 1 1]."""
        if not row.motion_paths:
            return torch.ones((), device=latents.device)
        units = torch.ones(len(time_ids), latents.shape[2])
        arm = float(grid(*latents.shape[-2:], torch.empty(0)).norm(dim=0).mean())
        for clip, (fps, motion, _) in enumerate(time_ids.tolist()):
            units[clip, -SCENE_CHANNELS:] = torch.tensor(scene_units(row, motion, fps + 1, arm))
        return units[:, None, :, None, None].to(latents.device)


def scene_units(row: CheckpointRow, motion_bucket_id: float, fps: float, arm: float) -> list[float]:
    """Of each of a scene's channels. ``arm``: how far from its middle a frame's cells are in the mean."""
    step = MOTION_GAIN * 2 * camera_speed(row, motion_bucket_id) / fps
    drift = MOTION_GAIN * FULL_DRIFT * (motion_bucket_id / 255) ** 0.5
    camera = [step, step, step / arm, step / arm, step / (ARC * MEAN_DEPTH)]
    return [*camera, NEAR_UNIT, STIR_UNIT, drift, drift]
