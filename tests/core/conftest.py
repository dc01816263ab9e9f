"""One tiny pipeline for all tests of the core, under our runtime and under diffusers' own pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext
from svd_ui.core.sampling.samplers import seeded
from svd_ui.request import GenerationRequest
from tests.tiny import save_tiny_svd

CPU_PLAN = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("tiny") / "tiny-svd")


@pytest.fixture
def plan() -> Plan:
    return CPU_PLAN


@pytest.fixture
def runtime(tiny_folder: Path) -> Runtime:
    return Runtime(folder_row(tiny_folder), tiny_folder, CPU_PLAN)


@pytest.fixture(scope="session")
def reference(tiny_folder: Path) -> Any:
    """diffusers' own pipeline over the same weights."""
    from diffusers import StableVideoDiffusionPipeline

    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def still() -> Callable[[int, int], Image.Image]:
    return picture


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth colourful picture, the same for the same arguments."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def request(**values: Any) -> GenerationRequest:
    """A resolved request of 4 frames at 64x64 in 4 steps, except for ``values``."""
    defaults = {
        "image": "sha256:" + "0" * 64,
        "seed": 1,
        "num_frames": 4,
        "width": 64,
        "height": 64,
        "num_inference_steps": 4,
        "fps": 7,
        "min_guidance_scale": 1.0,
        "max_guidance_scale": 3.0,
    }
    return GenerationRequest(**{**defaults, **values}).resolved({})


def clip_of(runtime: Runtime, **values: Any) -> ClipSpec:
    """``request(**values)`` for the checkpoint in memory."""
    return ClipSpec.of(request(**values), runtime.row)


def prepared(
    runtime: Runtime, asked: GenerationRequest, image: Any = None, generator: Any = None, **more: Any
) -> SamplingContext:
    """A clip of ``asked`` right before its first step: of a picture of its size, seeded with 3, unless given."""
    clip, generator = ClipSpec.of(asked, runtime.row), generator or seeded(3)
    image = image or picture(clip.width, clip.height)
    cond = condition(runtime, image, clip, generator)
    return SamplingContext(runtime, cond, clip, generator, **more)
