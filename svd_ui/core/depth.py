"""How near each part of a still is, by a depth model of transformers, where one lies in ``models/depth``.

Any that predicts inverse depth will do, such as Depth Anything V2 Small (arXiv 2406.09414, Apache-2.0): its folder as
transformers saves it, in safetensors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..steering.marks import Mask

WORKING_SIDE, PATCH = 518, 14
"""Shorter side that such models are trained at, and what both sides are multiples of."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which these models' backbones were trained with."""
ENDS = (0.02, 0.98)
"""Quantiles taken for the farthest and the nearest: single cells are often far off."""


@torch.no_grad()
def nearness(folder: Path, still: Image.Image, device: torch.device | str = "cpu") -> Mask:
    """Of an RGB ``still``: [H W], -0.5 far to 0.5 near. The model is loaded for this and let go.

    Raises what transformers raises for a folder that holds no such model.
    """
    from transformers import AutoModelForDepthEstimation

    model = AutoModelForDepthEstimation.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    model = model.to(device).eval()
    predicted: Tensor = model(pixel_values=_pixels(still).to(device)).predicted_depth
    near = functional.interpolate(predicted[None].float().cpu(), still.size[::-1], mode="bicubic", align_corners=False)
    low, high = np.quantile(near.numpy(), ENDS)
    shares: Mask = ((near[0, 0].numpy() - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32) - np.float32(0.5)
    return shares


def _pixels(still: Image.Image) -> Tensor:
    scale = WORKING_SIDE / min(still.size)
    size = tuple(max(PATCH, round(side * scale / PATCH) * PATCH) for side in still.size)
    values = np.asarray(still.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32) / 255  # type: ignore[arg-type]
    normal = (torch.from_numpy(values) - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    return normal.permute(2, 0, 1)[None]
