"""Writing a trained checkpoint as a diffusers folder that the app loads like any other."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
from torch import Tensor

from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .autoencoder import preview_matrix
from .model import build_clip, build_processor, build_scheduler
from .moves import FPS, known_moves
from .objective import Objective

SIGMA_MIN, SIGMA_MAX = 0.3, 80.0
"""The sampler's range, in units of the motion that is asked for.

It begins where any move is drowned, so that the seed decides, and stops early: the last step returns the mean estimate at
``SIGMA_MIN``, which is smooth and steady where a small network's fine detail would differ from frame to frame.
"""
MOTION_PATHS = ((30, 0.01), (60, 0.02), (127, 0.05), (200, 0.08), (255, 0.12))
PATH_SECONDS = 2.6
"""How far the camera goes at each motion in so many seconds, mean over the frame, as a share of its longer side."""


def settings(vae: WarpAutoencoder) -> dict[str, Any]:
    """What ``svd_ui.json`` tells the app's catalogue about this checkpoint."""
    matrix, bias = preview_matrix(vae)
    objective = Objective()
    return {
        "family": "warp",
        "motion_paths": [list(pair) for pair in MOTION_PATHS],
        "path_seconds": PATH_SECONDS,
        "moves": known_moves(np.random.default_rng(0)),
        "train_sigma": [objective.sigma_mean, objective.sigma_std],
        "sigma_reference": SIGMA_MAX,
        "num_frames": 14,
        "width": 512,
        "height": 288,
        "size_multiple": vae.patch_size,
        "decode_chunk_size": 14,  # milliseconds
        "num_inference_steps": 8,
        "fps": int(FPS),
        "min_guidance_scale": 1.0,
        "max_guidance_scale": 1.0,
        "preview": [[round(v, 5) for v in row] for row in matrix.tolist()],
        "preview_bias": [round(v, 5) for v in bias.tolist()],
    }


def export(folder: Path, unet: UNetSpatioTemporalConditionModel, vae: WarpAutoencoder) -> None:
    """Every module in half precision, safetensors under 15 MB each, and ``svd_ui.json``."""
    pipeline = StableVideoDiffusionPipeline(
        vae=copy.deepcopy(vae),
        image_encoder=build_clip(),
        unet=unet,
        scheduler=build_scheduler(SIGMA_MIN, SIGMA_MAX),
        feature_extractor=build_processor(),
    )
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size="14MB")
    _name_our_class(folder / "model_index.json")
    _forget_origin(folder / "vae" / "config.json")
    (folder / "svd_ui.json").write_text(_readable(settings(vae)))


def _readable(content: dict[str, Any]) -> str:
    """JSON with one line for each field."""
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _name_our_class(index: Path) -> None:
    """model_index.json names our autoencoder's module, and the processor's class as SVD does."""
    content = json.loads(index.read_text())
    content["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    content["vae"] = ["svd_ui.core.families.warp_autoencoder", "WarpAutoencoder"]
    index.write_text(json.dumps(content, indent=2) + "\n")


def _forget_origin(config: Path) -> None:
    """Where on the trainer's disk the autoencoder came from is nobody's business."""
    content = json.loads(config.read_text())
    content.pop("_name_or_path", None)
    config.write_text(json.dumps(content, indent=2) + "\n")


def with_weights(unet: UNetSpatioTemporalConditionModel, weights: list[Tensor]) -> UNetSpatioTemporalConditionModel:
    """A copy of ``unet`` on the CPU holding ``weights`` (one per parameter, in order)."""
    copy: UNetSpatioTemporalConditionModel = type(unet).from_config(unet.config)
    with torch.no_grad():
        for parameter, value in zip(copy.parameters(), weights, strict=True):
            parameter.copy_(value.cpu())
    return copy.eval()
