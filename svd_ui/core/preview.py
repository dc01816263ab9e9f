"""A glimpse of the clip while it forms: a linear map from latents to colours, no decoder."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

from ..catalog import CheckpointRow
from .families import verbs_of

MAX_SIDE = 256


def preview_jpeg(row: CheckpointRow, denoised: Tensor) -> bytes | None:
    """The middle frame of ``denoised [B F C h w]`` as a JPEG of at most 256 px; None where ``row`` has no matrix.

    It waits for the device once, for one frame of latents. The arithmetic is numpy's: at this size torch would
    spend more on waking its threads than on the work.
    """
    if not row.preview:
        return None
    with np.errstate(all="ignore"):  # wild latents give a picture too
        colours = verbs_of(row).colours(row, denoised[0])
    height, width = colours.shape[:2]
    levels = np.nan_to_num(colours, copy=False, nan=0.5).clip(0, 1) * 255
    picture = Image.fromarray(levels.round().astype(np.uint8))
    scale = MAX_SIDE / max(picture.size)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
