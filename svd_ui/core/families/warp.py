"""Checkpoints that move the still's own pixels, in torch: the difference from the still is diffused.

Where ``motion_gain`` of the row is not 0, the last two latent channels hold how far each cell's view of the still has
moved (``warp_autoencoder.py``), and nothing but these two is diffused.
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

from ...media.image import crop_box
from ..sampling.denoiser import Conditioning, Denoiser, residual
from .canvas import Box, Canvas, margin_for
from .scene import Scene
from .svd import ClipFrames, Decoder, FamilyVerbs, Floats, linear_colours
from .warp_autoencoder import WarpAutoencoder

if TYPE_CHECKING:
    from ...catalog import CheckpointRow
    from ...clip import ClipSpec
    from ..runtime import Runtime


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
    """The part of ``picture`` that a camera can see, so large that the crop is ``width`` x ``height``; and the crop's box."""
    left, top, right, bottom = crop_box(picture.size, width, height, *focus)
    across, down = (right - left) / width, (bottom - top) / height
    rest = left / across, top / down, (picture.width - right) / across, (picture.height - bottom) / down
    most = math.ceil(REACH * width), math.ceil(REACH * height)
    x, y, x_after, y_after = (min(most[side % 2], math.floor(there + 1e-6)) for side, there in enumerate(rest))
    seen = (
        max(0.0, left - x * across),
        max(0.0, top - y * down),
        min(float(picture.width), right + x_after * across),
        min(float(picture.height), bottom + y_after * down),
    )
    size = x + width + x_after, y + height + y_after
    return np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=seen)), (
        x,
        y,
        x + width,
        y + height,
    )


class WarpVerbs(FamilyVerbs):
    """See ``catalog/families/warp.py``. The autoencoder may also be SVD's, whose frames are decoded as SVD's are."""

    keeps_still = True

    def start(
        self, runtime: Runtime, sigmas: Tensor, cond: Conditioning, noise: Tensor, around_still: bool = True
    ) -> Tensor:
        """The noise lies around the still: what is diffused is the difference, of mean zero."""
        around = cond.image_latents * runtime.scaling_factor if around_still else 0
        return super().start(runtime, sigmas, cond, noise) + around

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """The latents of the still stay: the estimate is added to them."""
        return replace(cond, image_embeds=torch.zeros_like(cond.image_embeds))

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        still = cond.image_latents * runtime.scaling_factor
        held = self.held(runtime.row, runtime.latent_channels)
        return residual(super().denoiser(runtime, unet, cond), still, runtime.row.residual_scale, held)

    def decoder(
        self, runtime: Runtime, still: Tensor, clip: ClipSpec | None = None, picture: Image.Image | None = None
    ) -> Decoder:
        if not isinstance(runtime.vae, WarpAutoencoder):
            return Decoder(runtime)
        if clip is None or not clip.renders:
            return WarpDecoder(runtime, still)
        return Renderer(runtime, still, clip, picture)

    def colours(self, row: CheckpointRow, latents: Tensor) -> Floats:
        """Where the row has a ``motion_gain``, the colours of the places that the middle frame looks at."""
        if not row.motion_gain:
            return super().colours(row, latents)
        frames: Floats = latents[: len(latents) // 2 + 1].float().cpu().numpy()
        return _looked_up(linear_colours(row, frames[-1]), _places(frames[:, -2:], row.motion_gain))

    def encode_clip(self, runtime: Runtime, frames: Tensor) -> Tensor:
        """The clip whole: motion is measured in it."""
        if not isinstance(runtime.vae, WarpAutoencoder):
            return super().encode_clip(runtime, frames)
        with runtime.use("vae") as vae:
            latents: Tensor = vae.encode_clip(frames.float().to(runtime.device))
        return latents

    def diffused(self, row: CheckpointRow, latents: Tensor, still: Tensor) -> Tensor:
        return (latents - still) / row.residual_scale

    def held(self, row: CheckpointRow, channels: int) -> int:
        """All but the motion, where that is all there is to diffuse."""
        return channels - 2 if row.motion_gain else 0


def _places(motion: Floats, gain: float) -> Floats:
    """Motion channels from the first frame on, ``[F 2 h w]`` => where the last one's cells look, ``[2 h w]``."""
    height, width = motion.shape[-2:]
    half = max(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (np.arange(height) + 0.5 - height / 2) / half
    rest = np.stack(np.meshgrid(x, y)).astype(np.float32)
    places: Floats = rest + (motion - rest).sum(axis=0) / np.float32(gain)
    return places


def _looked_up(colours: Floats, places: Floats) -> Floats:
    """``colours`` [h w 3] at ``places`` [2 h w], x and y from the middle in halves of the longer side.

    Between cells evenly, beyond the edges the outermost ones.
    """
    height, width, _ = colours.shape
    half = max(height, width) / 2
    left, right, x = _between(places[0] * half + (width - 1) / 2, width)
    top, bottom, y = _between(places[1] * half + (height - 1) / 2, height)
    upper = colours[top, left] * (1 - x) + colours[top, right] * x
    lower = colours[bottom, left] * (1 - x) + colours[bottom, right] * x
    found: Floats = upper * (1 - y) + lower * y
    return found


def _between(at: Floats, count: int) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """The two of ``count`` cells that ``at`` lies between, and how far from the first to the second, ``[h w 1]``."""
    at = np.nan_to_num(at).clip(0, count - 1)
    first = np.floor(at).astype(np.intp)
    return first, np.minimum(first + 1, count - 1), (at - first)[..., None]
