"""The modules of ``nano``: SVD's own classes, made small."""

from __future__ import annotations

import torch
from diffusers import EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

EMBED_DIM = 64


def build_unet(
    latent_channels: int = 32, channels: tuple[int, ...] = (64, 96, 128)
) -> UNetSpatioTemporalConditionModel:
    """The denoiser, with its last convolution at zero: untrained, it returns the still.

    The outermost level has no attention, which is most of the cost at full resolution.
    """
    inner = len(channels) - 1
    unet = UNetSpatioTemporalConditionModel(
        in_channels=2 * latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlockSpatioTemporal",) + ("CrossAttnDownBlockSpatioTemporal",) * inner,
        up_block_types=("CrossAttnUpBlockSpatioTemporal",) * inner + ("UpBlockSpatioTemporal",),
        block_out_channels=channels,
        layers_per_block=1,
        transformer_layers_per_block=1,
        num_attention_heads=tuple(max(1, c // 32) for c in channels),
        cross_attention_dim=EMBED_DIM,
        addition_time_embed_dim=64,
        projection_class_embeddings_input_dim=192,
        num_frames=14,
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias)
    return unet


def build_clip(seed: int = 0) -> CLIPVisionModelWithProjection:
    """A small random, frozen picture encoder: enough to tell pictures apart, nothing to train."""
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=224,
        patch_size=32,
        projection_dim=EMBED_DIM,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIPVisionModelWithProjection(config).eval().requires_grad_(False)


def build_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})


def build_scheduler(sigma_min: float, sigma_max: float) -> EulerDiscreteScheduler:
    """SVD's scheduler with a sigma range that fits small latents."""
    return EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        timestep_spacing="leading",
        use_karras_sigmas=True,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        interpolation_type="linear",
    )
