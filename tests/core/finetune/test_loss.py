"""The loss and the sampler are two sides of one preconditioning."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import CheckpointRow
from svd_ui.core.families import verbs_of
from svd_ui.core.families.warp_autoencoder import CAMERA, RELIEF, SCENE_CHANNELS, coherent
from svd_ui.core.finetune.dataset import order
from svd_ui.core.finetune.loss import ClipBatch, DiffusionLoss, Draw
from svd_ui.core.sampling.denoiser import Conditioning

SCALING = 0.18215
SVD = CheckpointRow(id="svd", title="SVD", num_frames=4, width=64, height=64)
WARP = SVD.model_copy(
    update={
        "family": "warp",
        "motion_paths": ((127, 0.05), (255, 0.1)),
        "path_seconds": 2.6,
        "moves": (("push", ((0.0, 0.0, 1.0, 0.0, 0.0, 0.2),)), ("pan", ((1.0, 0.0, 0.1, 0.0, 0.0, 0.2),))),
    }
)
CHANNELS = 2 + SCENE_CHANNELS
ROWS = pytest.mark.parametrize("row", [SVD, WARP], ids=lambda row: row.family)


def clips(count: int = 3, frames: int = 4) -> ClipBatch:
    draw = torch.Generator().manual_seed(1)
    return ClipBatch(
        latents=torch.randn(count, frames, CHANNELS, 8, 8, generator=draw),
        embeds=torch.randn(count, 1, 16, generator=draw),
        stills=torch.rand(count, 3, 64, 64, generator=draw) * 2 - 1,
        fps=torch.full((count,), 7.0),
        buckets=torch.tensor([1.0, 127.0, 255.0][:count]),
    )


def diffused(row: CheckpointRow, batch: ClipBatch, cond: Conditioning) -> Tensor:
    """The batch in what the U-Net diffuses."""
    return verbs_of(row).diffused(row, batch.latents, cond.image_latents * SCALING, cond.added_time_ids)


def answer(row: CheckpointRow, x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """The U-Net's that a run strives for: it knows the target, and answers in v as the sampler reads it."""
    guess, trust = verbs_of(row).skip(row, x, sigma)
    return torch.where(trust == 0, torch.zeros(()), (x0 - guess) / trust)


def told(batch: ClipBatch) -> ClipBatch:
    """The same with what is one number for a frame, or a clip, one: such are all clips that are encoded."""
    scene = coherent(batch.latents[:, :, -SCENE_CHANNELS:])
    return replace(batch, latents=torch.cat([batch.latents[:, :, :-SCENE_CHANNELS], scene], dim=2))


@ROWS
def test_a_perfect_unet_has_no_loss_and_another_has(row: CheckpointRow) -> None:
    objective, batch = DiffusionLoss(row), told(clips())
    draw = objective.draw(batch, torch.Generator().manual_seed(0))
    cond = still_of(objective, batch, draw)
    x0 = diffused(row, batch, cond)
    x = x0 + draw.sigma[:, None, None, None, None] * verbs_of(row).noise(row, draw.noise)
    perfect = answer(row, x0, x, draw.sigma)
    assert objective.loss(lambda *_, **__: (perfect,), batch, draw, cond, SCALING).max() < 1e-6
    assert objective.loss(lambda *_, **__: (perfect + 0.1,), batch, draw, cond, SCALING).min() > 1e-3


def still_of(objective: DiffusionLoss, batch: ClipBatch, draw: Draw) -> Conditioning:
    """Encoded as a clip's first frame is, in whose scene nothing happens."""
    return objective.conditioning(batch, draw, batch.latents[:, 0] / SCALING)


def test_what_is_not_diffused_costs_nothing() -> None:
    """The still's own channels, and what cannot be: a camera of a cell's own, depth that changes."""
    objective, batch = DiffusionLoss(WARP), told(clips())
    draw = objective.draw(batch, torch.Generator().manual_seed(0))
    cond = still_of(objective, batch, draw)
    x0 = diffused(WARP, batch, cond)
    v = answer(
        WARP, x0, x0 + draw.sigma[:, None, None, None, None] * verbs_of(WARP).noise(WARP, draw.noise), draw.sigma
    )

    def loss(wrong: Tensor) -> Tensor:
        return objective.loss(lambda *_, **__: (wrong,), batch, draw, cond, SCALING)

    wrong = v.clone()
    wrong[:, :, :2] += 5
    wrong[:, :, 2 : 2 + CAMERA, :4] += 5
    wrong[:, :, 2 : 2 + CAMERA, 4:] -= 5
    wrong[:, :2, 2 + CAMERA : 2 + CAMERA + RELIEF] += 5
    wrong[:, 2:, 2 + CAMERA : 2 + CAMERA + RELIEF] -= 5
    assert loss(wrong).max() < 1e-6
    wrong[:, :, -1] += 0.1
    torch.testing.assert_close(loss(wrong), torch.full((3,), 0.01 / SCENE_CHANNELS), atol=1e-5, rtol=1e-3)


@ROWS
def test_the_loss_is_the_sampler_s_error_over_what_it_trusts_the_unet_with(row: CheckpointRow) -> None:
    """What the family's denoiser makes of the same U-Net is off by that times the square root of the loss."""
    objective, batch = DiffusionLoss(row), told(clips())
    draw, verbs = objective.draw(batch, torch.Generator().manual_seed(3)), verbs_of(row)
    cond = still_of(objective, batch, draw)

    def unet(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        return (
            sample[:, :, :CHANNELS] * 0.3
            + encoder_hidden_states.mean((1, 2))[:, None, None, None, None]
            + timestep.view(-1, 1, 1, 1, 1),
        )

    losses = objective.loss(unet, batch, draw, cond, SCALING)
    for index, sigma in enumerate(draw.sigma):
        one = Conditioning(*(value[index : index + 1] for value in vars(cond).values()))
        runtime: Any = SimpleNamespace(row=row, scaling_factor=SCALING, plan=SimpleNamespace(dtype=torch.float32))
        clean, still = batch.latents[index : index + 1], one.image_latents * SCALING
        units = torch.ones(()) if row is SVD else verbs.units(row, one.added_time_ids, still)
        x = clean + units * sigma * verbs.noise(row, draw.noise[index : index + 1])
        estimate = verbs.denoiser(runtime, unet, one)(x, sigma)
        off = (estimate - clean) / units
        _, trust = verbs.skip(row, torch.zeros_like(x), sigma)
        held = verbs.held(row, CHANNELS)
        torch.testing.assert_close(estimate[:, :, :held], still[:, :, :held])
        error = (off / trust)[:, :, held:].square().mean()
        assert float(error) == pytest.approx(float(losses[index]), rel=1e-3)


def test_noise_levels_and_dropouts_have_their_rates() -> None:
    objective = DiffusionLoss(SVD)
    batch = clips(1)
    many = ClipBatch(*(value.expand(20_000, *value.shape[1:])[:, ...] for value in _tiny(batch)))
    draw = objective.draw(many, torch.Generator().manual_seed(0))
    log = draw.sigma.log()
    assert float(log.mean()) == pytest.approx(0.7, abs=0.05)
    assert float(log.std()) == pytest.approx(1.6, abs=0.05)
    strength = draw.strength.log()
    assert float(strength.mean()) == pytest.approx(-3.0, abs=0.03)
    assert float(strength.std()) == pytest.approx(0.5, abs=0.03)
    embeds, still = draw.without_embeds.float(), draw.without_still.float()
    assert float(embeds.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(still.mean()) == pytest.approx(0.2, abs=0.01)
    assert float((embeds * still).mean()) == pytest.approx(0.1, abs=0.01)


def test_what_is_dropped_is_zero_and_the_rest_is_not() -> None:
    batch = clips()
    draw = Draw(
        sigma=torch.ones(3), noise=torch.zeros_like(batch.latents), strength=torch.tensor([0.1, 0.2, 0.3]),
        still_noise=torch.zeros_like(batch.stills), without_embeds=torch.tensor([True, False, False]),
        without_still=torch.tensor([False, True, False]),
    )  # fmt: skip
    cond = DiffusionLoss(SVD).conditioning(batch, draw, torch.ones(3, CHANNELS, 8, 8))
    assert cond.image_embeds[0].abs().sum() == 0 < cond.image_embeds[1].abs().sum()
    assert cond.image_latents[1].abs().sum() == 0 < cond.image_latents[0].abs().sum()
    torch.testing.assert_close(cond.added_time_ids[2], torch.tensor([6.0, 255.0, 0.3]))


def test_a_checkpoint_that_moves_its_still_never_loses_its_still() -> None:
    many = ClipBatch(*(value.expand(500, *value.shape[1:]) for value in _tiny(clips(1))))
    draw = DiffusionLoss(WARP).draw(many, torch.Generator().manual_seed(0))
    assert draw.without_embeds.any()
    assert not draw.without_still.any()


def test_every_clip_comes_once_before_any_comes_again() -> None:
    epochs = [[order(7, 10 * epoch + i, 10) for i in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order(7, 3, 10) == epochs[0][3]


def _tiny(batch: ClipBatch) -> tuple[Tensor, ...]:
    """The fields of a batch with next to no pixels."""
    return batch.latents[..., :1, :1], batch.embeds, batch.stills[..., :1, :1], batch.fps, batch.buckets
