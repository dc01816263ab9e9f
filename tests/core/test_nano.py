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


def path(nano: Runtime, clip: Tensor) -> float:
    """How far cells go from frame to frame, in the mean over the frame and summed, as a share of the longer side."""
    moved = nano.vae.scene(clip[0] / nano.scaling_factor).displacement()
    return float(moved.diff(dim=0).norm(dim=1).mean(dim=(1, 2)).sum()) / 2


@torch.no_grad()
def test_the_dial_says_how_far_a_clip_goes_and_fps_how_fast(nano: Runtime, still: Image.Image) -> None:
    paths = [path(nano, latents(nano, still, motion_bucket_id=m)) for m in (30, 127, 255)]
    assert paths == pytest.approx([0.01, 0.05, 0.12], rel=0.35)
    assert path(nano, latents(nano, still, motion_bucket_id=127, fps=10)) == pytest.approx(0.025, rel=0.35)


@torch.no_grad()
def test_consecutive_seeds_make_different_moves(nano: Runtime, still: Image.Image) -> None:
    ends = []
    for seed in range(8, 8 + len(nano.row.moves)):
        scene = nano.vae.scene(latents(nano, still, seed=seed)[0] / nano.scaling_factor)
        end = scene.displacement()[-1].flatten()
        ends.append(end / end.norm())
    alike = torch.stack(ends) @ torch.stack(ends).T
    assert (alike - 2 * torch.eye(len(ends))).max() < 0.97


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
