"""Latents => frames, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..cancel import CancelToken
from ..errors import Cancelled
from .runtime import Runtime


@torch.no_grad()
def decode(
    runtime: Runtime, latents: Tensor, decode_chunk_size: int, cancel: CancelToken, start: int = 0
) -> Iterator[np.ndarray]:
    """Scaled latents ``[1 F C h w]`` => uint8 frames ``[f H W 3]``, at most ``decode_chunk_size`` at once.

    ``start`` skips frames already decoded: after ``torch.OutOfMemoryError`` go on there with a smaller chunk.
    Raises Cancelled between chunks. Frames of one chunk are decoded together in time, so chunk 1 can flicker.
    """
    for first in range(start, latents.shape[1], decode_chunk_size):
        if cancel.is_set():
            raise Cancelled()
        yield to_frames(decode_pixels(runtime, latents[0, first : first + decode_chunk_size]))


def decode_pixels(runtime: Runtime, latents: Tensor) -> Tensor:
    """Scaled latents of consecutive frames ``[N C h w]`` => pixels ``[N 3 H W]`` around [-1, 1], float32.

    Half precision that overflowed would give black frames; then the same frames are decoded in float32.
    """
    pixels = _decode(runtime, latents, None)
    if runtime.vae.dtype == torch.float16 and not bool(pixels.isfinite().all()):
        pixels = _decode(runtime, latents, torch.float32)
    return pixels


def _decode(runtime: Runtime, latents: Tensor, dtype: torch.dtype | None) -> Tensor:
    raw = latents.float() / runtime.scaling_factor
    with runtime.use("vae", dtype) as vae:
        pixels: Tensor = vae.decode(raw.to(runtime.device, vae.dtype), num_frames=len(raw)).sample
    return pixels.float()


def to_frames(pixels: Tensor) -> np.ndarray:
    """``[N 3 H W]`` in [-1, 1] => uint8 ``[N H W 3]``."""
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
