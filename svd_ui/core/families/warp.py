"""Checkpoints that move the still's own pixels, in torch: the difference from the still is diffused.

Where the row has ``motion_paths``, the last latent channels hold a scene (``warp_autoencoder.py``) and nothing else is
diffused, in units of the motion that is asked for. So the dial is exact whatever the network has learnt, and it sees
moves of one size. What is one number for a frame, or for a clip, has one number's noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...catalog.families.warp import camera_speed
from ...media.image import crop_box
from ..sampling.denoiser import Conditioning, Denoiser, residual
from .canvas import Box, Canvas, margin_for
from .scene import ARC, Scene, grid
from .svd import ClipFrames, Decoder, FamilyVerbs, Floats, linear_colours
from .warp_autoencoder import MOTION_GAIN, SCENE_CHANNELS, WarpAutoencoder, coherent, coherent_noise, moved, scene_of

if TYPE_CHECKING:
    from ...catalog import CheckpointRow
    from ...clip import ClipSpec
    from ..runtime import Runtime

MEAN_DEPTH = 0.25
"""How far from its middle depth a picture is in the mean: what an arc moves."""
NEAR_UNIT, STIR_UNIT = 0.3, 0.4
FULL_DRIFT = 0.016
"""Halves of the longer side that what stirs swings at a motion of 255."""


REACH = 0.5
"""How much of a frame's width and height is kept beyond each of its sides, at most."""
MARGIN_POINTS = 96
"""Along the longer side, where it is asked how far a clip looks beyond its still."""


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


class Renderer(WarpDecoder):
    """Writes the frames of ``clip`` at its times and size. They are looked up in the still at that size, which then has
    all the detail of its ``picture`` that they can show.
    """

    def __init__(self, runtime: Runtime, still: Tensor, clip: ClipSpec, picture: Image.Image | None) -> None:
        super().__init__(runtime, still)
        self.times, (self.width, self.height) = clip.frame_times, clip.frame_size
        self._large = still[0].permute(1, 2, 0).add(1).mul(127.5).round().to(torch.uint8)
        self._around: tuple[NDArray[np.uint8], Box] | None = None
        if picture is not None:
            focus = clip.request.focus_x, clip.request.focus_y
            self._around = _around(picture, self.width, self.height, focus)
        if self._large.shape[:2] != (self.height, self.width):
            self._large = self._enlarged()

    def frames_of(self, latents: Tensor) -> ClipFrames:
        return RenderedFrames(self, latents)

    def canvas(self, scene: Scene) -> Canvas:
        """The still with as much around it as ``scene``, the frames to be, looks at."""
        scale = MARGIN_POINTS / max(self.height, self.width)
        places = scene.places(max(2, round(self.height * scale)), max(2, round(self.width * scale)))
        margin = (share + 1 / MARGIN_POINTS for share in margin_for(places, self.height, self.width))
        across, down = (min(REACH, share) for share in margin)
        return Canvas.of(self._large.to(self.runtime.device), self._around, (across, down))

    def _enlarged(self) -> Tensor:
        """The still at the frames' size, from its picture where that is known."""
        if self._around is None:
            still = Image.fromarray(self._large.numpy()).resize((self.width, self.height), Image.Resampling.LANCZOS)
            return torch.from_numpy(np.array(still))
        pixels, (left, top, _, _) = self._around
        return torch.from_numpy(pixels[int(top) :, int(left) :][: self.height, : self.width].copy())


class RenderedFrames(ClipFrames):
    """Frames looked up where a clip's scene has them look."""

    def __init__(self, decoder: Renderer, latents: Tensor) -> None:
        super().__init__(decoder, latents)
        runtime = decoder.runtime
        raw = latents.float() / runtime.scaling_factor
        with runtime.use("vae") as vae:
            self._scene: Scene = vae.scene(raw.to(runtime.device, vae.dtype))
        self._times = torch.tensor(decoder.times, device=runtime.device)
        self._size = decoder.height, decoder.width
        self._canvas = decoder.canvas(self._scene.at(self._times))

    def __len__(self) -> int:
        return len(self._times)

    def pixels(self, first: int, last: int, dtype: torch.dtype | None = None) -> Tensor:
        return self._canvas.look(self._scene.at(self._times[first:last]).places(*self._size))


def _around(picture: Image.Image, width: int, height: int, focus: tuple[float, float]) -> tuple[NDArray[np.uint8], Box]:
    """What a camera may see of ``picture``, so large that the crop is ``width`` x ``height``; and the crop's box in that."""
    left, top, right, bottom = crop_box(picture.size, width, height, *focus)
    across, down = (right - left) / width, (bottom - top) / height
    rest = left / across, top / down, (picture.width - right) / across, (picture.height - bottom) / down
    most = math.ceil(REACH * width), math.ceil(REACH * height)
    before_x, before_y, after_x, after_y = (min(most[at % 2], math.floor(there + 1e-6)) for at, there in enumerate(rest))
    box = (
        max(0.0, left - before_x * across),
        max(0.0, top - before_y * down),
        min(float(picture.width), right + after_x * across),
        min(float(picture.height), bottom + after_y * down),
    )
    size = before_x + width + after_x, before_y + height + after_y
    pixels = np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box))
    return pixels, (before_x, before_y, before_x + width, before_y + height)


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

    def decoder(
        self, runtime: Runtime, still: Tensor, clip: ClipSpec | None = None, picture: Image.Image | None = None
    ) -> Decoder:
        if not isinstance(runtime.vae, WarpAutoencoder):
            return Decoder(runtime)
        if clip is None or not clip.renders:
            return WarpDecoder(runtime, still)
        return Renderer(runtime, still, clip, picture)

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
