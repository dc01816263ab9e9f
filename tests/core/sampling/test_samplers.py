"""Where the steps lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from svd_ui.catalog import NANO, STABILITY_ROWS, CheckpointRow, nano_row
from svd_ui.clip import ClipSpec
from svd_ui.core.loading import load_scheduler
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.samplers import down_to_zero, seeded
from svd_ui.errors import BadInput
from svd_ui.request import GenerationRequest
from tests.core.conftest import picture, request
from tests.core.test_parity import ours, theirs

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
FEW = XT.model_copy(update={"family": "consistency", "num_inference_steps": 4, "max_guidance_scale": 1.0})


def clip_of(steps: int, row: CheckpointRow = XT, **values: Any) -> ClipSpec:
    return ClipSpec.of(GenerationRequest(num_inference_steps=steps, **values), row)


def ays(steps: int) -> torch.Tensor:
    return down_to_zero(clip_of(steps, schedule="ays").sigmas)


@pytest.mark.parametrize("steps", [1, 4, 10, 25])
@pytest.mark.parametrize("row", [XT, nano_row()], ids=lambda row: row.id)
def test_a_checkpoints_own_levels_are_those_of_its_scheduler(row: CheckpointRow, steps: int) -> None:
    scheduler = load_scheduler(NANO, nano_row())
    if row is XT:
        scheduler.register_to_config(sigma_min=0.002, sigma_max=700.0)
    scheduler.set_timesteps(steps)
    assert torch.equal(down_to_zero(clip_of(steps, row).sigmas), scheduler.sigmas)


def test_ten_ays_steps_are_those_published() -> None:
    from diffusers.schedulers.scheduling_utils import AysSchedules

    expected = torch.tensor(AysSchedules["StableDiffusionVideoSigmas"], dtype=torch.float64).float()
    assert torch.equal(ays(10), expected)


@pytest.mark.parametrize("steps", [1, 4, 7, 20, 25])
def test_other_numbers_of_ays_steps_lie_log_linearly_between(steps: int) -> None:
    sigmas, ten = ays(steps), ays(10)
    assert len(sigmas) == steps + 1 and sigmas[0] == 700 and sigmas[-1] == 0
    assert (sigmas[:-1] > sigmas[1:]).all()
    if steps == 20:  # every second is a published one, the others halfway in the logarithm
        torch.testing.assert_close(sigmas[:-1:2], ten[:-1])
        torch.testing.assert_close(sigmas[1:18:2], (ten[:9] * ten[1:10]).sqrt())
    if steps > 1:  # the smallest sigma itself is replaced by zero, not reached
        assert sigmas[-2] > 0.002


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_ays_run_is_diffusers_with_these_sigmas(runtime: Runtime, reference: Any, guidance: float) -> None:
    from diffusers.schedulers.scheduling_utils import AysSchedules

    asked = request(num_inference_steps=10, schedule="ays", max_guidance_scale=guidance)
    sigmas = AysSchedules["StableDiffusionVideoSigmas"]
    expected = theirs(reference, picture(64, 64), asked, seeded(7), output_type="latent", sigmas=sigmas)
    got = ours(runtime, picture(64, 64), asked, seeded(7))
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 40])
def test_a_consistency_model_sees_only_sigmas_it_was_distilled_on(steps: int) -> None:
    grid, sigmas = clip_of(40).sigmas, clip_of(steps, FEW).sigmas
    assert len(sigmas) == steps and sigmas[0] == pytest.approx(700)
    assert [grid.index(sigma) for sigma in sigmas] == [index * (40 // steps) for index in range(steps)]


def test_a_consistency_model_knows_no_more_steps_than_it_was_distilled_on() -> None:
    with pytest.raises(BadInput, match="at most 40 steps"):
        FEW.check(clip_of(41, FEW))
