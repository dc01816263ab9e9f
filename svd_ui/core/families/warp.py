"""Checkpoints that move the still's own pixels, in torch: the difference from the still is diffused.

Where the row has ``motion_paths``, the last latent channels hold a scene (``warp_autoencoder.py``) and nothing else is
diffused, in units of the motion that is asked for. So the dial is exact whatever the network has learnt, and it sees
moves of one size. What is one number for a frame, or for a clip, has one number's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ...catalog.families.warp import camera_speed
from ..sampling.denoiser import Conditioning, Denoiser, Preconditioning, residual
from .camera_moves import chosen, moves, nearest
from .rendering import Renderer, WarpDecoder
from .scene import ARC, grid
from .svd import Decoder, FamilyVerbs, linear_colours
from .warp_autoencoder import (
    CAMERA,
    DRIFT,
    MOTION_GAIN,
    RELIEF,
    SCENE_CHANNELS,
    WarpAutoencoder,
    coherent,
    coherent_noise,
    moved,
    parts_of,
    scene_of,
)

if TYPE_CHECKING:
    from PIL import Image

    from ...catalog import CheckpointRow
    from ...clip import ClipSpec
    from ..runtime import Runtime

CAMERA_AT = slice(-SCENE_CHANNELS, -SCENE_CHANNELS + CAMERA)
MEAN_DEPTH = 0.25
"""How far from its middle depth a picture is in the mean: what an arc moves."""
NEAR_UNIT, STIR_UNIT = 0.3, 0.4
FULL_DRIFT = 0.024
"""Halves of the longer side that what stirs swings at a motion of 255."""


class WarpVerbs(FamilyVerbs):
    """See ``catalog/families/warp.py``. The autoencoder may also be SVD's, whose frames are decoded as SVD's are."""

    keeps_still = True

    def start(
        self,
        runtime: Runtime,
        sigmas: Tensor,
        cond: Conditioning,
        noise: Tensor,
        seeds: Sequence[int],
        around_still: bool = True,
    ) -> Tensor:
        """The noise lies around the still: what is diffused is the difference, of mean zero."""
        row, around = runtime.row, cond.image_latents * runtime.scaling_factor if around_still else 0
        if row.motion_paths:
            noise = self.noise(row, noise)
            camera = chosen(row, noise.shape[1], noise[:, :, CAMERA_AT, 0, 0], seeds)
            noise[:, :, CAMERA_AT] = camera[..., None, None]
            noise = noise * self._units(row, cond.added_time_ids, noise).to(noise)
        return super().start(runtime, sigmas, cond, noise, seeds) + around

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """The latents of the still stay: the estimate is added to them."""
        return replace(cond, image_embeds=torch.zeros_like(cond.image_embeds))

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        still = cond.image_latents * runtime.scaling_factor
        if not runtime.row.motion_paths:
            return residual(super().denoiser(runtime, unet, cond), still, runtime.row.residual_scale)
        units = self._units(runtime.row, cond.added_time_ids, still)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            base = still.to(x)
            r = (x - base) / units
            pre = Preconditioning.at(sigma)
            sample = torch.cat([self.shown(runtime.row, r * pre.c_in), cond.image_latents], dim=2)
            (v,) = unet(
                sample.to(runtime.plan.dtype),
                pre.c_noise,
                encoder_hidden_states=cond.image_embeds.to(runtime.plan.dtype),
                added_time_ids=cond.added_time_ids.to(runtime.plan.dtype),
                return_dict=False,
            )
            guess, trust = self.skip(runtime.row, r, sigma)
            return base + units * self.coherent(runtime.row, guess + trust * v.to(r.dtype))

        return denoise

    def decoder(
        self, runtime: Runtime, still: Tensor, clip: ClipSpec | None = None, picture: Image.Image | None = None
    ) -> Decoder:
        if not isinstance(runtime.vae, WarpAutoencoder):
            return Decoder(runtime)
        if clip is None or not clip.renders:
            return WarpDecoder(runtime, still)
        return Renderer(runtime, still, clip, picture)

    def colours(self, row: CheckpointRow, latents: Tensor, frames: slice) -> Tensor:
        """Where the row has ``motion_paths``, the colours of the places that each frame looks at."""
        if not row.motion_paths:
            return super().colours(row, latents, frames)
        clip = latents.float().cpu()
        still = torch.from_numpy(linear_colours(row, clip[:1].numpy())).permute(0, 3, 1, 2)
        scene = scene_of(clip).at(torch.arange(len(clip))[frames])
        return moved(still, scene.places(*clip.shape[-2:])).permute(0, 2, 3, 1)

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
        return functional.pad(coherent_noise(noise[:, :, -SCENE_CHANNELS:]), _room(noise))

    def coherent(self, row: CheckpointRow, values: Tensor) -> Tensor:
        if not row.motion_paths:
            return values
        return functional.pad(coherent(values[:, :, -SCENE_CHANNELS:]), _room(values))

    def shown(self, row: CheckpointRow, values: Tensor) -> Tensor:
        if not row.motion_paths:
            return values
        camera, relief, drift = parts_of(values[:, :, -SCENE_CHANNELS:])
        return functional.pad(torch.cat([camera, torch.zeros_like(relief), drift], dim=2), _room(values))

    def skip(self, row: CheckpointRow, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The camera is guessed from the moves that the checkpoint knows, what the still alone tells not at all."""
        guess, trust = super().skip(row, x, sigma)
        if not row.motion_paths:
            return guess, trust
        camera, relief, drift = parts_of(guess[:, :, -SCENE_CHANNELS:])
        known = nearest(moves(row, x.shape[1]).to(x), x[:, :, CAMERA_AT, 0, 0], sigma)
        told = torch.cat([known[..., None, None].expand_as(camera), torch.zeros_like(relief), drift], dim=2)
        shares = torch.cat(
            [
                trust.expand(len(x), 1, CAMERA, 1, 1),
                trust.new_ones(len(x), 1, RELIEF, 1, 1),
                trust.expand(len(x), 1, DRIFT, 1, 1),
            ],
            dim=2,
        )
        return functional.pad(told, _room(x)), functional.pad(shares, _room(x))

    def _units(self, row: CheckpointRow, time_ids: Tensor, latents: Tensor) -> Tensor:
        """What 1 in the U-Net stands for in ``latents`` [B F C h w], for each clip and channel: [B 1 C 1 1]."""
        if not row.motion_paths:
            return torch.ones((), device=latents.device)
        units = torch.ones(len(time_ids), latents.shape[2])
        height, width = latents.shape[-2:]
        arm = float(grid(height, width, torch.empty(0)).norm(dim=0).mean())
        for clip, (fps, motion, _) in enumerate(time_ids.tolist()):
            units[clip, -SCENE_CHANNELS:] = torch.tensor(scene_units(row, motion, fps + 1, arm))
        return units[:, None, :, None, None].to(latents.device)


def _room(values: Tensor) -> tuple[int, ...]:
    """Padding that puts the still's channels, none of which is diffused, before a scene's."""
    return 0, 0, 0, 0, values.shape[2] - SCENE_CHANNELS, 0


def scene_units(row: CheckpointRow, motion_bucket_id: float, fps: float, arm: float) -> list[float]:
    """Of each of a scene's channels. ``arm``: how far from its middle a frame's cells are in the mean."""
    step = MOTION_GAIN * 2 * camera_speed(row, motion_bucket_id) / fps
    drift = MOTION_GAIN * FULL_DRIFT * (motion_bucket_id / 255) ** 0.5
    camera = [step, step, step / arm, step / arm, step / (ARC * MEAN_DEPTH)]
    return [*camera, NEAR_UNIT, STIR_UNIT, drift, drift]
