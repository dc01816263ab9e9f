"""The motion of a known scene is told apart again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from svd_ui.core.families.scene import Scene
from svd_ui.core.families.scene_fit import fitted

CELLS = (18, 32)
FRAMES = 6
LAST = torch.tensor([0.12, -0.05, 0.10, 0.04, 0.0])


def pose() -> Tensor:
    return torch.linspace(0, 1, FRAMES)[:, None] * LAST


def depth() -> Tensor:
    """Something round stands in the middle; of mean 0."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 18), torch.linspace(-1, 1, 32), indexing="ij")
    near = 0.6 * (-(x**2 + y**2) / 0.18).exp()
    return near - near.mean()


def waves() -> Tensor:
    """Water in the lower left quarter."""
    drift = torch.zeros(FRAMES, 2, *CELLS)
    drift[:, 1, 10:, :14] = 0.03 * (torch.arange(FRAMES) * 1.5).sin()[:, None, None]
    return drift


def test_a_camera_over_a_flat_picture_is_found() -> None:
    found, stirring = fitted(Scene(pose(), torch.zeros(CELLS), torch.zeros(FRAMES, 2, *CELLS)).displacement())
    torch.testing.assert_close(found.pose, pose(), atol=1e-4, rtol=0)
    assert found.nearness.abs().max() < 0.001
    assert stirring.max() == 0


def test_nothing_moves_where_nothing_does() -> None:
    found, stirring = fitted(torch.zeros(FRAMES, 2, *CELLS))
    assert found.displacement().abs().max() < 1e-5
    assert stirring.max() == 0


def test_camera_depth_and_water_are_told_apart() -> None:
    true = Scene(pose(), depth(), waves())
    found, stirring = fitted(true.displacement())
    torch.testing.assert_close(found.pose, pose(), atol=0.012, rtol=0)
    assert torch.corrcoef(torch.stack([found.nearness.flatten(), depth().flatten()]))[0, 1] > 0.8
    assert float(found.nearness[9, 16]) == pytest.approx(float(depth()[9, 16]), abs=0.2)
    assert found.nearness.mean().abs() < 1e-6
    assert stirring[12:, 1:12].mean() > 0.9
    assert stirring[:8, 20:].mean() < 0.2


def test_the_whole_explains_what_was_measured() -> None:
    """Whatever is taken for the camera, for depth or for water: together they move as was seen."""
    moved = Scene(pose(), depth(), waves()).displacement()
    found, _ = fitted(moved)
    error = (found.displacement() - moved).norm(dim=1)
    assert error.mean() < 0.04 * moved.norm(dim=1)[-1].mean()


def test_noise_of_a_tenth_of_a_pixel_stirs_nothing() -> None:
    noise = torch.randn(FRAMES, 2, *CELLS, generator=torch.Generator().manual_seed(0)) * 0.1 / 256
    found, stirring = fitted(Scene(pose(), torch.zeros(CELLS), torch.zeros(FRAMES, 2, *CELLS)).displacement() + noise)
    torch.testing.assert_close(found.pose, pose(), atol=1e-3, rtol=0)
    assert stirring.max() == 0
