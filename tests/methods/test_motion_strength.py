"""Motion strength: the clip moves more the higher it is, and 0 is the plain clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import NANO, find_checkpoint, nano_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.families.warp_autoencoder import positions
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.errors import BadInput
from svd_ui.media.image import fit
from svd_ui.methods.motion_strength import MotionStrength, lowered
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.core.conftest import CPU_PLAN

PICTURES = sorted((REPOSITORY / "assets" / "examples").glob("*.jpg"))[:2]


def asked(**values: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"seed": 3, "num_frames": 8, "num_inference_steps": 6, **values})


@pytest.fixture(scope="module")
def nano() -> Runtime:
    return Runtime(nano_row(), NANO, CPU_PLAN)


def latents(nano: Runtime, request: GenerationRequest, picture: Image.Image) -> torch.Tensor:
    clip = ClipSpec.of(request, nano.row)
    generator = seeded(clip.seed)
    still = fit(picture.convert("RGB"), clip.width, clip.height, 0.5, 0.5)
    given = condition(nano, still, clip, generator)
    *_, last = sample(SamplingContext(runtime=nano, conditioning=given, clip=clip, generator=generator))
    return last.latents


def path(nano: Runtime, request: GenerationRequest) -> float:
    """How far cells have moved at the end, in cells, mean over the pictures."""
    found = []
    for file in PICTURES:
        motion = latents(nano, request, Image.open(file))[0, :, -2:]
        steps = (motion - positions(motion)) / nano.row.motion_gain
        found.append(float(steps.sum(dim=0).square().sum(dim=0).sqrt().mean()))
    return float(np.mean(found))


def test_flow_rises_with_the_strength(nano: Runtime) -> None:
    plain, half, whole = (
        path(nano, asked(method={"kind": "motion_strength", "strength": strength})) for strength in (0, 0.5, 1)
    )
    assert plain < half < whole
    assert whole > 1.15 * plain


def test_no_strength_is_the_plain_clip(nano: Runtime) -> None:
    picture = Image.open(PICTURES[0])
    none = latents(nano, asked(method={"kind": "motion_strength", "strength": 0}), picture)
    assert torch.equal(none, latents(nano, asked(), picture))


def test_lowered_sigmas_keep_their_end_and_their_order() -> None:
    sigmas = torch.tensor([700.0, 100.0, 10.0, 1.0, 0.0])
    lower = lowered(sigmas, 1 / 7)
    assert lower[0] == pytest.approx(100)
    assert lower[3:].tolist() == pytest.approx([1.0, 0.0])
    assert bool((lower[:-1] > lower[1:]).all())


def test_few_step_weights_cannot_be_steered_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    row = find_checkpoint(Settings(data_dir=tmp_path_factory.mktemp("data")), "animatelcm-svd-xt")
    with pytest.raises(BadInput, match="their own noise levels") as caught:
        row.check(ClipSpec.of(GenerationRequest(method=MotionStrength()), row))
    assert caught.value.field == "method"
