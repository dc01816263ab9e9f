"""Where the steps lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.sigmas import ays, consistency, karras, seeded
from tests.core.conftest import picture, request
from tests.core.test_parity import ours, theirs


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
    grid = karras(40, 0.002, 700.0)
    sigmas = consistency(steps, 0.002, 700.0)
    assert len(sigmas) == steps + 1 and sigmas[0] == 700 and sigmas[-1] == 0
    at = [int((grid == sigma).nonzero()) for sigma in sigmas[:-1]]
    assert at == [index * (40 // steps) for index in range(steps)]


@pytest.mark.parametrize("steps", [0, 41])
def test_a_consistency_model_knows_no_more_steps_than_it_was_distilled_on(steps: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 40"):
        consistency(steps, 0.002, 700.0)
