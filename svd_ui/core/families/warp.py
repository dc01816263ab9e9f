"""Checkpoints that move the still's own pixels, in torch: the difference from the still is diffused.

Where ``motion_gain`` of the row is not 0, the last two latent channels hold how far each cell's view of the still has
moved (``warp_autoencoder.py``), and nothing but these two is diffused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sampling.denoiser import Conditioning, Denoiser, residual
from .svd import Decoder, FamilyVerbs, Floats, linear_colours
from .warp_autoencoder import WarpAutoencoder

if TYPE_CHECKING:
    from ...catalog import CheckpointRow
    from ..runtime import Runtime


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
        return super().start(runtime, sigmas, cond, noise) + around

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """The latents of the still stay: the estimate is added to them."""
        return replace(cond, image_embeds=torch.zeros_like(cond.image_embeds))

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        still = cond.image_latents * runtime.scaling_factor
        held = self.held(runtime.row, runtime.latent_channels)
        return residual(super().denoiser(runtime, unet, cond), still, runtime.row.residual_scale, held)

    def decoder(self, runtime: Runtime, still: Tensor) -> Decoder:
        return WarpDecoder(runtime, still) if isinstance(runtime.vae, WarpAutoencoder) else Decoder(runtime)

    def colours(self, row: CheckpointRow, latents: Tensor, frames: slice) -> Tensor:
        """Where the row has a ``motion_gain``, the colours of the places that each frame looks at."""
        if not row.motion_gain:
            return super().colours(row, latents, frames)
        clip: Floats = latents.float().cpu().numpy()
        places = _places(clip[:, -2:], row.motion_gain)[frames]
        return torch.from_numpy(_looked_up(linear_colours(row, clip[frames]), places))

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
    """Motion channels from the first frame on, ``[F 2 h w]`` => where the cells of each look, likewise."""
    height, width = motion.shape[-2:]
    half = max(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (np.arange(height) + 0.5 - height / 2) / half
    rest = np.stack(np.meshgrid(x, y)).astype(np.float32)
    places: Floats = rest + np.cumsum(motion - rest, axis=0, dtype=np.float32) / np.float32(gain)
    return places


def _looked_up(colours: Floats, places: Floats) -> Floats:
    """``colours`` [N h w 3] at ``places`` [N 2 h w], x and y from the middle in halves of the longer side.

    Between cells evenly, beyond the edges the outermost ones.
    """
    count, height, width, _ = colours.shape
    half = max(height, width) / 2
    left, right, x = _between(places[:, 0] * half + (width - 1) / 2, width)
    top, bottom, y = _between(places[:, 1] * half + (height - 1) / 2, height)
    cells = colours.reshape(-1, 3)
    frame = height * np.arange(count)[:, None, None]
    top, bottom = (frame + top) * width, (frame + bottom) * width
    upper = cells.take(top + left, axis=0) * (1 - x) + cells.take(top + right, axis=0) * x
    lower = cells.take(bottom + left, axis=0) * (1 - x) + cells.take(bottom + right, axis=0) * x
    found: Floats = upper * (1 - y) + lower * y
    return found


def _between(at: Floats, count: int) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """The two of ``count`` cells that each of ``at`` lies between, and how far from the first to the second, ``[... 1]``."""
    at = np.nan_to_num(at).clip(0, count - 1)
    first = np.floor(at).astype(np.intp)
    return first, np.minimum(first + 1, count - 1), (at - first)[..., None]
