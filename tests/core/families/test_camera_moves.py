"""Which move a seed is for, and what is known of one that noise hides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import CheckpointRow
from svd_ui.core.families.camera_moves import chosen, moves, nearest, pace

FRAMES = 14
ROW = CheckpointRow(
    id="x",
    title="x",
    family="warp",
    num_frames=FRAMES,
    width=512,
    height=288,
    motion_paths=((255, 0.1),),
    moves=(
        ("push", ((0, 0, 1, 0, 0, 0.2), (0.3, 0, 0.9, 0, 0, 0.5))),
        ("pan", ((1, 0, 0.1, 0, 0, 0.2),)),
        ("roll", ((0, 0, 0.1, 1, 0, 0.2), (0, 0, 0.1, -1, 0, 0.2))),
    ),
)


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, FRAMES, 5, generator=torch.Generator().manual_seed(seed))


def test_a_move_begins_at_rest_and_goes_as_far_as_is_asked() -> None:
    known = moves(ROW, FRAMES)
    assert known.shape == (5, FRAMES, 5)
    assert known[:, 0].abs().max() == 0
    torch.testing.assert_close(
        known[:, 1:].mean(dim=1), torch.tensor([move[:5] for _, kind in ROW.moves for move in kind])
    )


@pytest.mark.parametrize("frames", [2, 4, 14, 40])
def test_a_soft_move_starts_and_ends_slowly_and_a_hard_one_is_even(frames: int) -> None:
    hard, soft = pace(frames, torch.tensor([0.0, 1.0]))
    assert hard[1:].tolist() == pytest.approx([1] * (frames - 1))
    assert float(soft[1:].mean()) == pytest.approx(1)
    assert hard[0] == soft[0] == 0
    if frames > 4:
        assert soft[1] == pytest.approx(float(soft[-1]), abs=1e-5)
        assert soft[1] < 0.2 < 1.5 < soft[frames // 2]


def test_one_frame_does_not_move() -> None:
    assert pace(1, torch.tensor([0.5])).tolist() == [[0]]


def test_of_little_noise_the_move_is_read_and_of_much_the_mean_of_all() -> None:
    known = moves(ROW, FRAMES)
    quiet = nearest(known, known + 0.01 * noise(5), torch.tensor(0.01))
    torch.testing.assert_close(quiet, known, atol=1e-4, rtol=0)
    loud = nearest(known, 1e4 * noise(3), torch.tensor(1e4))
    torch.testing.assert_close(loud, known.mean(dim=0).expand(3, -1, -1), atol=0.01, rtol=0)
    assert nearest(known, known, torch.tensor(0.0)).isfinite().all()


def test_the_estimate_is_bayes() -> None:
    """Against the sum written out, each clip at its own noise."""
    known, sigma = moves(ROW, FRAMES).double(), torch.tensor([0.7, 3.0, 20.0])
    x = known[[0, 2, 4]] + sigma.double()[:, None, None] * noise(3).double()
    for clip in range(3):
        shares = (-(x[clip] - known).square().sum(dim=(1, 2)) / (2 * sigma[clip].double() ** 2)).exp()
        mean = (shares[:, None, None] * known).sum(dim=0) / shares.sum()
        torch.testing.assert_close(nearest(known, x, sigma)[clip], mean, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(nearest(known, x[clip : clip + 1], sigma[clip])[0], mean, atol=1e-6, rtol=1e-5)


def test_consecutive_seeds_are_for_different_kinds_and_noise_decides_within_one() -> None:
    known, firsts = moves(ROW, FRAMES), {0: (0, 1), 1: (2,), 2: (3, 4)}
    rolls = set()
    for seed in range(40):
        drawn = noise(1, seed)
        start = chosen(ROW, FRAMES, drawn, [seed])
        assert float(start.norm()) == pytest.approx(float(drawn.norm()), rel=1e-5)
        alike = torch.einsum("fc,kfc->k", start[0], known) / known.flatten(1).norm(dim=1) / start.norm()
        assert int(alike.argmax()) in firsts[seed % 3]
        assert float(alike.max()) == pytest.approx(1, abs=1e-5)
        rolls |= {int(alike.argmax())} if seed % 3 == 2 else set()
    assert rolls == {3, 4}


def test_a_clip_of_a_batch_starts_as_it_would_alone() -> None:
    drawn = noise(3)
    together = chosen(ROW, FRAMES, drawn, [7, 8, 9])
    for clip, seed in enumerate((7, 8, 9)):
        assert torch.equal(together[clip : clip + 1], chosen(ROW, FRAMES, drawn[clip : clip + 1], [seed]))
