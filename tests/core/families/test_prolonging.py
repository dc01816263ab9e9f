"""A scene that goes on: the camera keeps its way and never leaves the picture, what stirs does so in whole cycles."""

from __future__ import annotations

import math

import pytest
import torch

from svd_ui.core.families.prolonging import FAR, FAR_BACK, carried_on, whole_cycles

FRAMES = 14


def eased(last: float) -> torch.Tensor:
    """A pan that starts and ends at rest."""
    share = torch.arange(FRAMES) / (FRAMES - 1)
    pose = torch.zeros(FRAMES, 5)
    pose[:, 0] = last * share * share * (3 - 2 * share)
    return pose


def test_the_clip_is_as_it_was_until_it_is_fastest_and_then_keeps_that_speed() -> None:
    pose = eased(0.05)
    longer = carried_on(pose, 40)
    steps = longer[:, 0].diff()
    assert torch.allclose(longer[:7], pose[:7])
    assert torch.allclose(steps[8:], steps[8].expand(31), rtol=1e-3)
    assert steps[8] == pytest.approx(float(pose[:, 0].diff().max()), rel=1e-3)


@pytest.mark.parametrize(("part", "sign"), [(0, 1), (1, -1), (2, 1), (2, -1), (3, 1), (4, -1)])
def test_a_camera_turns_back_before_it_is_too_far_and_never_jumps(part: int, sign: int) -> None:
    pose = torch.zeros(FRAMES, 5)
    pose[:, part] = sign * 0.02 * torch.arange(FRAMES)
    longer = carried_on(pose, 400)[:, part]
    far = FAR_BACK if (part, sign) == (2, -1) else FAR[part]
    assert longer.abs().max() <= far + 1e-5
    assert longer.abs().max() >= 0.9 * far
    assert longer.diff().abs().max() < 0.025
    assert bool((longer.diff().sign() == -sign).any())


def test_a_short_clip_is_not_made_longer_than_asked() -> None:
    assert carried_on(eased(0.1), 9).shape == (9, 5)
    assert torch.allclose(carried_on(eased(0.1), 9)[:7], eased(0.1)[:7])


def test_what_stirs_is_where_it_was_a_period_later_and_still_in_the_first_frame() -> None:
    torch.manual_seed(1)
    times = torch.arange(FRAMES)
    drift = 0.01 * torch.sin(2 * math.pi * times / 13 + 0.7)[:, None, None, None].expand(-1, 2, 3, 4)
    longer = whole_cycles(drift, 13, 40)
    assert longer[0].abs().max() == 0
    assert torch.allclose(longer[:27], longer[13:40], atol=1e-5)
    swing = longer[:13].amax() - longer[:13].amin()
    assert float(swing) == pytest.approx(0.02, rel=0.2)


def test_a_drift_that_goes_one_way_comes_back_without_a_jump() -> None:
    drift = (0.002 * torch.arange(FRAMES))[:, None, None, None].expand(-1, 2, 3, 4)
    longer = whole_cycles(drift, 13, 27)
    steps = longer.diff(dim=0).abs().amax(dim=(1, 2, 3))
    assert steps[12:14].max() <= 2 * steps.median()


def test_nothing_stirs_where_nothing_did() -> None:
    assert whole_cycles(torch.zeros(FRAMES, 2, 3, 4), 13, 30).abs().max() < 1e-6
