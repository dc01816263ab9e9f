"""SVD-XT at full size and nano, without weights: on the meta device nothing is stored and nothing computed.

Configurations: diffusers' defaults are the U-Net that Stability published; the autoencoder is Stable Diffusion's
with a temporal decoder, the picture encoder is OpenCLIP's ViT-H/14.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from svd_ui.catalog import NANO
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

VAE = {"block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4}
VIT_H = CLIPVisionConfig(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=16,
    patch_size=14,
    projection_dim=1024,
    hidden_act="gelu",
)
META = torch.device("meta")
Shapes = Mapping[str, Sequence[int]]


def unet(architecture: str = "svd", dtype: torch.dtype = torch.float16, device: torch.device = META) -> Any:
    """The U-Net of ``svd`` or ``nano``, its weights whatever ``device`` gives."""
    config = {} if architecture == "svd" else _nano("unet")
    with device:
        return _ready(UNetSpatioTemporalConditionModel.from_config(config), dtype, device)


def vae(architecture: str = "svd", dtype: torch.dtype = torch.float16, device: torch.device = META) -> Any:
    """nano's is in float32 whatever ``dtype``, as ``loading.load_module`` has it."""
    with device:
        if architecture == "nano":
            return _ready(WarpAutoencoder.from_config(_nano("vae")), torch.float32, device)
        return _ready(AutoencoderKLTemporalDecoder(**VAE, layers_per_block=2), dtype, device)


def image_encoder(architecture: str = "svd", dtype: torch.dtype = torch.float16, device: torch.device = META) -> Any:
    config = VIT_H if architecture == "svd" else CLIPVisionConfig(**_nano("image_encoder"))
    with device:
        return _ready(CLIPVisionModelWithProjection(config), dtype, device)


def _ready(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    # diffusers' own ``to`` warns of layers to be kept in float32, of which these models have none.
    return nn.Module.to(module, device, dtype).requires_grad_(False).eval()


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def header_of(shapes: Shapes, dtype: str = "F16", value_bytes: int = 2) -> tuple[bytes, int]:
    """What begins a safetensors file of tensors of these ``shapes``, and how many bytes follow it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + value_bytes * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    data = json.dumps(header).encode()
    data = data.ljust(len(data) + -len(data) % 8)
    return struct.pack("<Q", len(data)) + data, end


def write_holes(path: Path, shapes: Shapes) -> None:
    """A safetensors file that takes no room: its tensors are holes, which read as zeros."""
    beginning, size = header_of(shapes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(len(beginning) + size)


def _nano(part: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((NANO / part / "config.json").read_text("utf-8"))
    return loaded
