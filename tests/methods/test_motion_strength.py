"""Motion strength: less noise to begin with the higher it is, and 0 is the plain clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from svd_ui.catalog import find_checkpoint, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.errors import BadInput
from svd_ui.methods.motion_strength import MotionStrength, lowered
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.core.conftest import CPU_PLAN, picture
from tests.tiny import save_tiny_svd


def asked(**values: object) -> GenerationRequest:
    return GenerationRequest.model_validate(
        {"seed": 3, "num_frames": 4, "num_inference_steps": 4, "max_guidance_scale": 1.0, **values}
    )


@pytest.fixture(scope="module")
def svd(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """Random weights: nothing is known of how they move, but the walk is SVD's."""
    folder = save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


def steps(svd: Runtime, request: GenerationRequest) -> list[torch.Tensor]:
    """The levels of noise and the latents of every step."""
    clip = ClipSpec.of(request, svd.row)
    generator = seeded(clip.seed)
    still = picture(clip.width, clip.height)
    given = condition(svd, still, clip, generator)
    context = SamplingContext(runtime=svd, conditioning=given, clip=clip, generator=generator)
    return [step.latents for step in sample(context)]


def test_a_clip_starts_from_less_noise_the_stronger_it_is(svd: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[float] = []
    walk = SamplingContext.walk

    def noted(self: SamplingContext, denoiser: Any, x: torch.Tensor, sigmas: torch.Tensor) -> Any:
        first.append(float(x.std()))
        return walk(self, denoiser, x, sigmas)

    monkeypatch.setattr(SamplingContext, "walk", noted)
    for strength in (0, 0.5, 1):
        steps(svd, asked(method={"kind": "motion_strength", "strength": strength}))
    assert first == pytest.approx([700, 700 / 7**0.5, 100], rel=0.1)


def test_no_strength_is_the_plain_clip(svd: Runtime) -> None:
    none = steps(svd, asked(method={"kind": "motion_strength", "strength": 0}))[-1]
    plain = steps(svd, asked())[-1]
    assert torch.equal(none, plain)
    assert not torch.allclose(
        steps(svd, asked(method={"kind": "motion_strength", "strength": 1}))[-1], plain, atol=1e-2
    )


def test_lowered_sigmas_keep_their_end_and_their_order() -> None:
    sigmas = torch.tensor([700.0, 100.0, 10.0, 1.0, 0.0])
    lower = lowered(sigmas, 1 / 7)
    assert lower[0] == pytest.approx(100)
    assert lower[3:].tolist() == pytest.approx([1.0, 0.0])
    assert bool((lower[:-1] > lower[1:]).all())


@pytest.mark.parametrize("id", ["animatelcm-svd-xt", "nano"])
def test_what_starts_from_its_own_noise_only_is_refused(tmp_path: Path, id: str) -> None:
    row = find_checkpoint(Settings(data_dir=tmp_path), id)
    with pytest.raises(BadInput, match="few-step models .* nano moves exactly as far as Motion says") as caught:
        row.check(ClipSpec.of(GenerationRequest(method=MotionStrength()), row))
    assert caught.value.field == "method"
