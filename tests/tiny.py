"""Real pipelines made tiny: random weights of the real classes, written as diffusers folders.

Tests of the core, the engine and the training use them; nothing here touches the network. Building one
takes about two seconds, so share it through a session-scoped fixture where you can.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

SVD_SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}
"""The scheduler configuration that Stable Video Diffusion's repositories ship."""

EMBED = 32


def save_tiny_svd(
    folder: Path,
    latent_channels: int = 4,
    *,
    channels: tuple[int, ...] = (32, 64),
    num_frames: int = 4,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    variant: str | None = None,
    dtype: torch.dtype = torch.float32,
    force_upcast: bool = True,
    published: bool = False,
    svd_ui: dict[str, Any] | None = None,
) -> Path:
    """Write an image-to-video pipeline of SVD's classes into ``folder`` and return it.

    ``size`` is the (width, height) that ``svd_ui.json`` gives as native, with 4 frames and 4 steps unless
    ``svd_ui`` says otherwise. ``variant`` (``"fp16"``) names the weight files, ``dtype`` stores them. ``published``
    gives heads and layers the sizes that all of Stability's checkpoints have, which no weight tells; ``channels`` are
    multiples of 64 then.
    """
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    inner = len(channels) - 1
    head, layers, clip = (64, 2, 80) if published else (16, 1, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNetSpatioTemporalConditionModel(
            in_channels=2 * latent_channels,
            out_channels=latent_channels,
            down_block_types=("CrossAttnDownBlockSpatioTemporal",) * inner + ("DownBlockSpatioTemporal",),
            up_block_types=("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * inner,
            block_out_channels=channels,
            addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=96,
            layers_per_block=layers,
            cross_attention_dim=EMBED,
            num_attention_heads=tuple(c // head for c in channels),
            num_frames=num_frames,
            sample_size=(size[1] // 8, size[0] // 8),
        )
        vae = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(32,) * 4,
            layers_per_block=layers,
            latent_channels=latent_channels,
            force_upcast=force_upcast,
        )
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=clip,
                projection_dim=EMBED,
                num_hidden_layers=2,
                num_attention_heads=1 if published else 4,
                image_size=224,
                intermediate_size=37,
                patch_size=32,
                hidden_act="gelu" if published else "quick_gelu",
            )
        )
    for name, module in {"unet": unet, "vae": vae, "image_encoder": image_encoder}.items():
        module.to(dtype).save_pretrained(folder / name, variant=variant)
    EulerDiscreteScheduler(**SVD_SCHEDULER).save_pretrained(folder / "scheduler")
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    index = {
        "_class_name": "StableVideoDiffusionPipeline",
        "_diffusers_version": "0.24.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
    }
    _write_json(folder / "model_index.json", index)
    own = {
        "num_frames": num_frames,
        "width": size[0],
        "height": size[1],
        "size_multiple": 8,
        "num_inference_steps": 4,
        "variant": variant,
    }
    _write_json(folder / "svd_ui.json", own | (svd_ui or {}))
    return folder


def save_tiny_warp(folder: Path) -> Path:
    """The same with our own autoencoder, which looks at the still, in cells of 16 pixels.

    As nano has it: what differs from the still is diffused. The U-Net says next to nothing of it, so that of the clip
    only the camera moves, as the row's ``moves`` have it.
    """
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    from recipes.nano.autoencoder import fit, preview_matrix
    from recipes.nano.moves import known_moves

    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = fit(pictures.cumsum(-1).sin(), components=6)
    matrix, bias = preview_matrix(vae)
    own = {
        "family": "warp",
        "motion_paths": [[127, 0.05], [255, 0.12]],
        "path_seconds": 2.6,
        "moves": known_moves(np.random.default_rng(0), each=2),
        "size_multiple": 16,
        "preview": matrix.tolist(),
        "preview_bias": bias.tolist(),
    }
    save_tiny_svd(folder, latent_channels=vae.config.latent_channels, size=(128, 64), svd_ui=own)
    shutil.rmtree(folder / "vae")
    vae.save_pretrained(folder / "vae")
    unet = UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet")
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias)
    unet.save_pretrained(folder / "unet")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    _write_json(
        folder / "model_index.json", index | {"vae": ["svd_ui.core.families.warp_autoencoder", "WarpAutoencoder"]}
    )
    return folder


def save_tiny_text_to_image(folder: Path, *, native: int = 64, seed: int = 0) -> Path:
    """Write a Stable Diffusion pipeline (U-Net, VAE, CLIP text) of ``native`` x ``native`` pixels."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=native // 8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            block_out_channels=(32,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=native,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=32,
                intermediate_size=37,
                num_attention_heads=4,
                num_hidden_layers=2,
                vocab_size=len(_vocabulary()),
                max_position_embeddings=77,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
    for name, module in {"unet": unet, "vae": vae, "text_encoder": text_encoder}.items():
        module.save_pretrained(folder / name)
    scheduler = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    EulerDiscreteScheduler(**scheduler, timestep_spacing="trailing").save_pretrained(folder / "scheduler")
    _write_tokenizer(folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.24.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _write_json(folder / "model_index.json", index)
    return folder


def _vocabulary() -> list[str]:
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    return ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]


def _write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with the alphabet for a vocabulary."""
    folder.mkdir(parents=True)
    _write_json(folder / "vocab.json", {token: i for i, token in enumerate(_vocabulary())})
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>", **special}
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2), "utf-8")
