"""SVD-XT at full size and nano, without weights: on the meta device nothing is stored and nothing computed.

Configurations: diffusers' defaults are the U-Net that Stability published; the autoencoder is Stable Diffusion's
with a temporal decoder, the picture encoder is OpenCLIP's ViT-H/14.
"""

from __future__ import annotations

import json
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


def _nano(part: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((NANO / part / "config.json").read_text("utf-8"))
    return loaded
