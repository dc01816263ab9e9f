"""What differs little in depth moves as one; steps between things stay."""

from __future__ import annotations

import torch

from svd_ui.core.families.scene import in_layers


def test_a_thing_whose_depth_was_guessed_cell_by_cell_is_one() -> None:
    thing = torch.zeros(12, 20)
    thing[3:9, 6:14] = 0.6
    guessed = thing + 0.05 * torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
    layered = in_layers(guessed)
    inside, outside = layered[4:8, 7:13], layered[thing == 0]
    assert inside.std() < 0.3 * guessed[4:8, 7:13].std()
    assert outside.std() < 0.5 * guessed[thing == 0].std()
    assert inside.mean() - outside.mean() > 0.5


def test_a_ground_that_comes_nearer_stays_a_slope() -> None:
    slope = torch.linspace(0, 0.8, 12)[:, None].expand(12, 20)
    layered = in_layers(slope)
    torch.testing.assert_close(layered[3:-3], slope[3:-3], atol=0.04, rtol=0)
    assert (layered.diff(dim=0) > 0).all()
