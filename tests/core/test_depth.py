"""A depth model's folder is read, and what it predicts larger is nearer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.core.depth import nearness


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depth Anything as it is, made tiny, with random weights."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14,
        out_features=["stage1", "stage2"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8], fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("depth")
    model = DepthAnythingForDepthEstimation(config)
    for values in model.head.parameters():  # else its last rectifier may let nothing through
        values.data.abs_()
    model.head.conv1.bias.data += 1
    model.save_pretrained(place)
    return place


def test_a_still_s_nearness_is_the_model_s_from_far_to_near(folder: Path) -> None:
    rng = np.random.default_rng(0)
    still = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).resize((120, 80))
    found = nearness(folder, still)
    assert found.shape == (80, 120)
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == pytest.approx((-0.5, 0.5))


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        nearness(tmp_path, Image.new("RGB", (28, 28)))
