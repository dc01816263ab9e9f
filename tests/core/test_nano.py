"""The embedded checkpoint does what its card says, on photographs it has never seen; small and quick here.

``python -m benchmarks.nano_quality`` measures it in full.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_ui.catalog import NANO, PROFILES, nano_row
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.events import never
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest

from .conftest import prepared

PHOTOS = Path(__file__).resolve().parents[2] / "benchmarks" / "data"
SIZE = (256, 144)


@pytest.fixture(scope="module")
def nano() -> Runtime:
    return Runtime(nano_row(), NANO, Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa"))


@pytest.fixture(scope="module", params=["chelsea", "picosdeeuropa"])
def still(request: pytest.FixtureRequest) -> Image.Image:
    return fit(Image.open(PHOTOS / f"{request.param}.jpg").convert("RGB"), *SIZE)


def latents(nano: Runtime, still: Image.Image, **values: object) -> Tensor:
    asked = GenerationRequest.model_validate(
        {"width": SIZE[0], "height": SIZE[1], "num_frames": 14, "seed": 5, "num_inference_steps": 4, **values}
    )
    *_, last = sample(prepared(nano, asked, still, seeded(asked.seed or 0)))
    return last.latents


def flow(nano: Runtime, clip: Tensor) -> float:
    """Mean length of the cells' steps from frame to frame, in pixels."""
    return float(nano.vae.displacement(clip[0]).diff(dim=0).norm(dim=1).mean())


@torch.no_grad()
def test_the_dial_moves_it_and_fps_slows_its_frames(nano: Runtime, still: Image.Image) -> None:
    slow, middle, fast = (flow(nano, latents(nano, still, motion_bucket_id=m)) for m in (20, 140, 250))
    assert slow < middle < fast
    assert fast > 4 * slow
    assert fast == pytest.approx(1.3, abs=0.5)  # its label: 250 / 255 / 96 of half the longer side
    assert flow(nano, latents(nano, still, motion_bucket_id=140, fps=14)) < 0.75 * middle


@torch.no_grad()
def test_the_first_frame_is_the_still_and_the_last_is_sharp(nano: Runtime, still: Image.Image) -> None:
    clip = latents(nano, still, motion_bucket_id=250)
    frames = np.concatenate([*decode(decoder_of(nano, still), clip, 14, never())]).astype(float)
    assert 10 * np.log10(255**2 / np.mean((frames[0] - np.asarray(still)) ** 2)) > 26
    detail = [np.abs(np.diff(frame.mean(axis=-1), axis=1)).mean() for frame in frames]
    assert 0.7 < detail[-1] / detail[0] < 1.3
    assert np.abs(frames[-1] - frames[0]).mean() > 3


@torch.no_grad()
def test_same_seed_same_clip_and_another_seed_another(nano: Runtime, still: Image.Image) -> None:
    one, again = latents(nano, still), latents(nano, still)
    torch.testing.assert_close(one, again)
    assert (latents(nano, still, seed=6) - one).abs().max() > 1e-3
