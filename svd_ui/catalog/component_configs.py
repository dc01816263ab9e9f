"""The small configuration files of the family, for weights that came without them. No torch.

What shapes tell is read from shapes. What they cannot tell is what Stability publishes of every checkpoint of the family:
heads of 64 in the U-Net and of 80 in OpenCLIP's ViT-H/14 (generative-models' ``svd_xt.yaml``, MIT), the scheduler and the
autoencoder's scale (the repositories' ``scheduler_config.json`` and ``vae/config.json``), CLIP's mean and deviation.
"""

from __future__ import annotations

import logging
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..stability_keys import Tensors
from ..weight_files import damaged, read_config, weights_of

if TYPE_CHECKING:
    from .checkpoint import CheckpointRow

log = logging.getLogger(__name__)
UNET_HEAD, CLIP_HEAD = 64, 80
SCALING_FACTOR = 0.18215

CLASSES = {
    "feature_extractor": ("transformers", "CLIPImageProcessor"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
    "unet": ("diffusers", "UNetSpatioTemporalConditionModel"),
    "vae": ("diffusers", "AutoencoderKLTemporalDecoder"),
}
MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableVideoDiffusionPipeline",
    **{name: list(cls) for name, cls in CLASSES.items()},
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
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
PREPROCESSOR: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
FIXED = {"scheduler": SCHEDULER, "feature_extractor": PREPROCESSOR, "model_index": MODEL_INDEX}
"""Those that no shape changes."""
FILES = {
    "scheduler": "scheduler/scheduler_config.json",
    "feature_extractor": "feature_extractor/preprocessor_config.json",
    "model_index": "model_index.json",
}
"""Where a diffusers folder has them, if not in ``config.json`` of the component's folder."""


def config_of(source: Path, component: str, row: CheckpointRow, tensors: Tensors | None = None) -> dict[str, Any]:
    """The configuration that ``source``, a folder or a single file, has of ``component``; else the family's.

    ``tensors`` are the component's, read here where they are needed and not given. Raises WeightsDamaged where a
    configuration is there that cannot be read, or there is none and the tensors are another model's.
    """
    file = FILES.get(component, f"{component}/config.json")
    found = read_config(source / file) if source.is_dir() else None
    if found is not None:
        return found
    if source.is_dir():
        log.info("%s has no %s: the family's own is used", source.name, file)
    if tensors is None and component not in FIXED:
        tensors = weights_of(source, component).tensors
    try:
        return default_config(row, component, tensors)
    except KeyError as error:
        raise damaged(source / file, "underivable") from error


def default_config(row: CheckpointRow, component: str, tensors: Tensors | None = None) -> dict[str, Any]:
    """The configuration of ``component`` (or ``model_index``); of one with weights, as its ``tensors`` have it.

    How many frames a checkpoint was trained on is in no tensor: that is the row's.
    """
    if component in FIXED:
        return dict(FIXED[component])
    if tensors is None:
        raise ValueError(f"the configuration of {component} is read from its tensors")
    if component == "vae":
        return _vae(tensors)
    return _image_encoder(tensors) if component == "image_encoder" else _unet(tensors, row)


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    found = tensors.shape(name)
    if found is None:
        raise KeyError(name)
    return found


def _unet(tensors: Tensors, row: CheckpointRow) -> dict[str, Any]:
    levels = tensors.count("down_blocks.{}.resnets.0.spatial_res_block.conv1.weight")
    widths = [_shape(tensors, f"down_blocks.{n}.resnets.0.spatial_res_block.conv1.weight")[0] for n in range(levels)]
    attended = [tensors.shape(f"down_blocks.{n}.attentions.0.norm.weight") is not None for n in range(levels)]
    numbers = _shape(tensors, "add_embedding.linear_1.weight")[1]
    middle = "mid_block.attentions.0.transformer_blocks.{}.norm1.weight"
    return {
        "_class_name": CLASSES["unet"][1],
        "in_channels": _shape(tensors, "conv_in.weight")[1],
        "out_channels": _shape(tensors, "conv_out.weight")[0],
        "block_out_channels": widths,
        "down_block_types": [_block("Down", attention) for attention in attended],
        "up_block_types": [_block("Up", attention) for attention in reversed(attended)],
        "layers_per_block": tensors.count("down_blocks.0.resnets.{}.spatial_res_block.conv1.weight"),
        "transformer_layers_per_block": tensors.count(middle),
        "cross_attention_dim": _shape(tensors, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")[1],
        "num_attention_heads": [max(1, width // UNET_HEAD) for width in widths],
        "addition_time_embed_dim": numbers // 3,
        "projection_class_embeddings_input_dim": numbers,
        "num_frames": row.num_frames,
        "sample_size": [row.height // 8, row.width // 8],
    }


def _block(side: str, attention: bool) -> str:
    return f"{'CrossAttn' if attention else ''}{side}BlockSpatioTemporal"


def _vae(tensors: Tensors) -> dict[str, Any]:
    levels = tensors.count("encoder.down_blocks.{}.resnets.0.conv1.weight")
    return {
        "_class_name": CLASSES["vae"][1],
        "in_channels": _shape(tensors, "encoder.conv_in.weight")[1],
        "out_channels": _shape(tensors, "decoder.conv_out.weight")[0],
        "latent_channels": _shape(tensors, "decoder.conv_in.weight")[1],
        "block_out_channels": [
            _shape(tensors, f"encoder.down_blocks.{n}.resnets.0.conv1.weight")[0] for n in range(levels)
        ],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "layers_per_block": tensors.count("encoder.down_blocks.0.resnets.{}.conv1.weight"),
        "scaling_factor": SCALING_FACTOR,
        "force_upcast": True,
        "sample_size": 768,
    }


def _image_encoder(tensors: Tensors) -> dict[str, Any]:
    width, channels, patch, _ = _shape(tensors, "vision_model.embeddings.patch_embedding.weight")
    positions = _shape(tensors, "vision_model.embeddings.position_embedding.weight")[0]
    return {
        "architectures": [CLASSES["image_encoder"][1]],
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "num_channels": channels,
        "patch_size": patch,
        "image_size": patch * isqrt(positions - 1),
        "num_hidden_layers": tensors.count("vision_model.encoder.layers.{}.layer_norm1.weight"),
        "num_attention_heads": max(1, width // CLIP_HEAD),
        "intermediate_size": _shape(tensors, "vision_model.encoder.layers.0.mlp.fc1.weight")[0],
        "projection_dim": _shape(tensors, "visual_projection.weight")[0],
        "hidden_act": "gelu",
    }
