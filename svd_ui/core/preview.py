"""A glimpse of the clip while it forms: a linear map from latents to colours, no decoder."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..catalog import CheckpointRow

MAX_SIDE = 256

Floats = NDArray[np.float32]


def preview_jpeg(row: CheckpointRow, denoised: Tensor) -> bytes | None:
    """The middle frame of ``denoised [B F C h w]`` as a JPEG of at most 256 px; None where ``row`` has no matrix.

    It waits for the device once, for one frame of latents. The arithmetic is numpy's: at this size torch would
    spend more on waking its threads than on the work.
    """
    if not row.preview:
        return None
    index = denoised.shape[1] // 2
    first = 0 if row.motion_gain else index
    frames: Floats = denoised[0, first : index + 1].float().cpu().numpy()
    _, channels, height, width = frames.shape
    with np.errstate(all="ignore"):  # wild latents give a picture too
        colours = frames[-1].reshape(channels, -1).T @ np.asarray(row.preview, np.float32)
        colours += np.asarray(row.preview_bias, np.float32)
        colours = colours.reshape(height, width, 3)
        if row.motion_gain:
            colours = _looked_up(colours, _places(frames[:, -2:], row.motion_gain))
    levels = np.nan_to_num(colours, copy=False, nan=0.5).clip(0, 1) * 255
    picture = Image.fromarray(levels.round().astype(np.uint8))
    scale = MAX_SIDE / max(picture.size)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


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
