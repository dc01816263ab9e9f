"""The real classes made tiny, with biases and norms that are not zeros and ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

EMBED = 32


def scattered(module: nn.Module) -> Any:
    """``module`` ready to run, its vectors (biases, norms, blending factors) moved away from their first values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def make_unet(channels: tuple[int, ...] = (32, 64, 64), heads: tuple[int, ...] = (2, 4, 4)) -> Any:
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    inner = len(channels) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return scattered(
            UNetSpatioTemporalConditionModel(
                down_block_types=("CrossAttnDownBlockSpatioTemporal",) * inner + ("DownBlockSpatioTemporal",),
                up_block_types=("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * inner,
                block_out_channels=channels,
                addition_time_embed_dim=32,
                projection_class_embeddings_input_dim=96,
                layers_per_block=2,
                cross_attention_dim=EMBED,
                num_attention_heads=heads,
            )
        )


def make_vae() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return scattered(
            AutoencoderKLTemporalDecoder(down_block_types=("DownEncoderBlock2D",) * 3, block_out_channels=(32, 32, 64))
        )


@pytest.fixture(scope="module")
def unet() -> Any:
    return make_unet()


@pytest.fixture(scope="module")
def vae() -> Any:
    return make_vae()


def inputs(batch: int, frames: int, height: int, width: int, embed: int = EMBED) -> tuple[Tensor, ...]:
    """What the U-Net is called with: latents, timestep, embeddings, time ids."""
    generator = torch.Generator().manual_seed(2)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    ids = torch.tensor([[6.0, 127.0, 0.02]]) * torch.arange(1, batch + 1)[:, None]
    return noise(batch, frames, 8, height, width), torch.tensor(1.3), noise(batch, 1, embed), ids


def distance(got: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return ((got - expected).abs().max() / expected.abs().max()).item()
