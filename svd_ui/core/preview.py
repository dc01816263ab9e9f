"""A glimpse of the clip while it forms: a linear map from latents to colours, no decoder."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from ..catalog import CheckpointRow

MAX_SIDE = 256


def preview_jpeg(row: CheckpointRow, denoised: Tensor) -> bytes | None:
    """The middle frame of ``denoised [B F C h w]`` as a JPEG of at most 256 px; None where ``row`` has no matrix."""
    if not row.preview:
        return None
    middle = denoised[0, denoised.shape[1] // 2].float().cpu()
    colours = torch.einsum("chw,cr->hwr", middle, torch.tensor(row.preview)) + torch.tensor(row.preview_bias)
    levels = (colours.nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    picture = Image.fromarray(levels.numpy())
    scale = MAX_SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
