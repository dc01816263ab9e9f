"""Checkpoints that move the still's own pixels, in torch.

The last latent channels hold a scene (``warp_autoencoder.py``) and nothing else is diffused: how it differs from one in
which nothing happens, in units of the motion that is asked for. So the dial is exact whatever the network has learnt, and
it sees moves of one size. What is one number for a frame, or for a clip, has one number's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..sampling.denoiser import Conditioning, Denoiser
from .camera_moves import chosen, moves, nearest
from .rendering import Renderer, WarpDecoder
from .scene import ARC, grid
from .svd import Decoder, FamilyVerbs, linear_colours
from .warp_autoencoder import (
    CAMERA,
    MOTION_GAIN,
    RELIEF,
    SCENE_CHANNELS,
    coherent,
    coherent_noise,
    moved,
    parts_of,
    prolonged,
    scene_of,
)

if TYPE_CHECKING:
    from PIL import Image

    from ...catalog import CheckpointRow
    from ...clip import ClipSpec
    from ...steering.choreography import Choreography
    from ..runtime import Runtime
    from ..staging import Stage

CAMERA_AT = slice(-SCENE_CHANNELS, -SCENE_CHANNELS + CAMERA)
MEAN_DEPTH = 0.25
"""How far from its middle depth a picture is in the mean: what an arc moves."""
NEAR_UNIT, STIR_UNIT = 0.3, 0.4
FULL_DRIFT = 0.024
"""Halves of the longer side that what stirs swings at a motion of 255."""


class WarpVerbs(FamilyVerbs):
    """See ``catalog/families/warp.py``. Its latents are those of a ``WarpAutoencoder``."""

    keeps_still = True

    def start(
        self,
        runtime: Runtime,
        sigmas: Tensor,
        cond: Conditioning,
        noise: Tensor,
        seeds: Sequence[int],
    ) -> Tensor:
        """The noise lies around the still: what is diffused is the difference, of mean zero."""
        row, noise = runtime.row, self.noise(runtime.row, noise)
        camera = chosen(row, noise.shape[1], noise[:, :, CAMERA_AT, 0, 0], seeds)
        noise[:, :, CAMERA_AT] = camera[..., None, None]
        noise = noise * self.units(row, cond.added_time_ids, noise)
        return super().start(runtime, sigmas, cond, noise, seeds) + cond.image_latents * runtime.scaling_factor

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """The latents of the still stay: the estimate is added to them."""
        return replace(cond, image_embeds=torch.zeros_like(cond.image_embeds))

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        row, still = runtime.row, cond.image_latents * runtime.scaling_factor
        units, of_difference = self.units(row, cond.added_time_ids, still), super().denoiser(runtime, unet, cond)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            base = still.to(x)
            return base + units * self.coherent(row, of_difference((x - base) / units, sigma))

        return denoise

    def decoder(
        self,
        runtime: Runtime,
        still: Tensor,
        clip: ClipSpec | None = None,
        picture: Image.Image | None = None,
        choreography: Choreography | None = None,
    ) -> Decoder:
        return WarpDecoder(runtime, still) if clip is None else Renderer(runtime, still, clip, picture, choreography)

    def reference(self, stage: Stage, clip: ClipSpec, still: Tensor) -> tuple[Tensor, Tensor]:
        """The camera's path alone: what else is planned is played when frames are looked at."""
        plan, frames = stage.choreography, still.shape[1]
        path = plan.own if plan.hold is not None else plan.camera
        nothing_moves = plan.hold is not None and bool((plan.hold == 1).all())
        keep = torch.full((1, 1, still.shape[2], 1, 1), float(nothing_moves), device=still.device)
        reference = still.clone()
        if path is not None:
            pose, _ = stage.poses(path, torch.arange(frames) / stage.span)
            steps = pose.diff(dim=0, prepend=pose[:1]) * MOTION_GAIN * stage.runtime.scaling_factor
            reference[:, :, CAMERA_AT] = steps.to(still.device)[None, :, :, None, None]
            keep[:, :, CAMERA_AT] = 1
        return reference, keep

    def colours(self, row: CheckpointRow, latents: Tensor, frames: slice) -> Tensor:
        """Those of the places that each frame looks at."""
        clip = latents.float().cpu()
        still = torch.from_numpy(linear_colours(row, clip[:1].numpy())).permute(0, 3, 1, 2)
        scene = scene_of(clip).at(torch.arange(len(clip))[frames])
        return moved(still, scene.places(*clip.shape[-2:])).permute(0, 2, 3, 1)

    def encode_clip(self, runtime: Runtime, frames: Tensor) -> Tensor:
        """The clip whole: motion is measured in it."""
        with runtime.use("vae") as vae:
            latents: Tensor = vae.encode_clip(frames.float().to(runtime.device))
        return latents

    def diffused(self, row: CheckpointRow, latents: Tensor, still: Tensor, time_ids: Tensor) -> Tensor:
        return (latents - still) / self.units(row, time_ids, latents)

    def held(self, row: CheckpointRow, channels: int) -> int:
        """All but the scene."""
        return channels - SCENE_CHANNELS

    def noise(self, row: CheckpointRow, noise: Tensor) -> Tensor:
        return functional.pad(coherent_noise(noise[:, :, -SCENE_CHANNELS:]), _room(noise))

    def coherent(self, row: CheckpointRow, values: Tensor) -> Tensor:
        return functional.pad(coherent(values[:, :, -SCENE_CHANNELS:]), _room(values))

    def shown(self, row: CheckpointRow, values: Tensor) -> Tensor:
        camera, relief, drift = parts_of(values[:, :, -SCENE_CHANNELS:])
        return functional.pad(torch.cat([camera, torch.zeros_like(relief), drift], dim=2), _room(values))

    def skip(self, row: CheckpointRow, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The camera is guessed from the moves that the checkpoint knows, what the still alone tells not at all."""
        guess, share = super().skip(row, x, sigma)
        camera, relief, drift = parts_of(guess[:, :, -SCENE_CHANNELS:])
        known = nearest(moves(row, x.shape[1]).to(x), x[:, :, CAMERA_AT, 0, 0], sigma)
        told = torch.cat([known[..., None, None].expand_as(camera), torch.zeros_like(relief), drift], dim=2)
        trust = share.to(x).expand(len(x), 1, SCENE_CHANNELS, 1, 1).clone()
        trust[:, :, CAMERA : CAMERA + RELIEF] = 1
        return functional.pad(told, _room(x)), functional.pad(trust, _room(x))

    def prolonged(self, latents: Tensor, length: int) -> Tensor:
        return prolonged(latents[0].float(), length)[None].to(latents)

    def units(self, row: CheckpointRow, time_ids: Tensor, latents: Tensor) -> Tensor:
        """What 1 in the U-Net stands for in ``latents`` [B F C h w], for each clip and channel: [B 1 C 1 1]."""
        height, width = latents.shape[-2:]
        arm = float(grid(height, width, torch.empty(0)).norm(dim=0).mean())
        fps, motion, _ = time_ids.to(latents.device, torch.float32).unbind(dim=1)
        scene = scene_units(row, motion, fps + 1, arm)[:, None, :, None, None]
        return functional.pad(scene, _room(latents), value=1.0)


def _room(values: Tensor) -> tuple[int, ...]:
    """Padding that puts the still's channels, none of which is diffused, before a scene's."""
    return 0, 0, 0, 0, values.shape[2] - SCENE_CHANNELS, 0


def scene_units(row: CheckpointRow, motion_bucket_ids: Tensor, fps: Tensor, arm: float) -> Tensor:
    """Of each of a scene's channels, for each clip: ``[B 9]``. ``arm``: how far a frame's cells are from its middle, mean."""
    step = MOTION_GAIN * 2 * camera_speeds(row, motion_bucket_ids) / fps
    drift = MOTION_GAIN * FULL_DRIFT * (motion_bucket_ids / 255) ** 0.5
    near, stir = torch.full_like(step, NEAR_UNIT), torch.full_like(step, STIR_UNIT)
    camera = [step, step, step / arm, step / arm, step / (ARC * MEAN_DEPTH)]
    return torch.stack([*camera, near, stir, drift, drift], dim=1)


def camera_speeds(row: CheckpointRow, motion_bucket_ids: Tensor) -> Tensor:
    """How far cameras go in a second, mean over the frame, as shares of its longer side: evenly between what is known."""
    known = torch.tensor([(0.0, 0.0), *row.motion_paths], device=motion_bucket_ids.device)
    above = (motion_bucket_ids[:, None] > known[1:-1, 0]).sum(dim=1)
    (low, a), (high, b) = known[above].unbind(dim=1), known[above + 1].unbind(dim=1)
    return (a + (b - a) * (motion_bucket_ids - low) / (high - low)) / row.path_seconds
