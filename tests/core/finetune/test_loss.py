"""The loss and the sampler are two sides of one preconditioning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import CheckpointRow
from svd_ui.core.finetune.dataset import order
from svd_ui.core.finetune.loss import ClipBatch, DiffusionLoss, Draw
from svd_ui.core.sampling.denoiser import Conditioning, residual, svd_denoiser

SCALING = 0.18215
SVD = CheckpointRow(id="svd", title="SVD", num_frames=4, width=64, height=64)
WARP = SVD.model_copy(update={"family": "warp", "residual_scale": 0.6})
ROWS = pytest.mark.parametrize("row", [SVD, WARP], ids=lambda row: row.family)


def clips(count: int = 3, frames: int = 4) -> ClipBatch:
    draw = torch.Generator().manual_seed(1)
    return ClipBatch(
        latents=torch.randn(count, frames, 4, 8, 8, generator=draw),
        embeds=torch.randn(count, 1, 16, generator=draw),
        stills=torch.rand(count, 3, 64, 64, generator=draw) * 2 - 1,
        fps=torch.full((count,), 7.0),
        buckets=torch.tensor([1.0, 127.0, 255.0][:count]),
    )


class Perfect:
    """The U-Net a run strives for: it knows the target and answers in v as the sampler reads it."""

    def __init__(self, x0: Tensor) -> None:
        self.x0 = x0

    def __call__(self, sample: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
        sigma = (timestep * 4).exp()[:, None, None, None, None]
        x = sample[:, :, : self.x0.shape[2]] * (sigma.square() + 1).sqrt()
        return ((self.x0 - x / (sigma.square() + 1)) / (-sigma / (sigma.square() + 1).sqrt()),)


@ROWS
def test_a_perfect_unet_has_no_loss_and_another_has(row: CheckpointRow) -> None:
    objective, batch = DiffusionLoss(row), clips()
    draw = objective.draw(batch, torch.Generator().manual_seed(0))
    still = torch.randn(3, 4, 8, 8)
    cond = objective.conditioning(batch, draw, still)
    scaled = cond.image_latents * SCALING
    x0 = batch.latents if row is SVD else (batch.latents - scaled) / 0.6
    assert objective.loss(Perfect(x0), batch, draw, cond, SCALING).max() < 1e-6
    assert objective.loss(Perfect(x0 + 0.1), batch, draw, cond, SCALING).min() > 1e-6


def test_what_is_not_diffused_costs_nothing() -> None:
    objective, batch = DiffusionLoss(WARP.model_copy(update={"motion_gain": 8.0})), clips()
    draw = objective.draw(batch, torch.Generator().manual_seed(0))
    cond = objective.conditioning(batch, draw, torch.randn(3, 4, 8, 8))
    wrong = (batch.latents - cond.image_latents * SCALING) / 0.6
    wrong[:, :, :2] += 5
    assert objective.loss(Perfect(wrong), batch, draw, cond, SCALING).max() < 1e-6
    wrong[:, :, 2:] += 0.1
    assert objective.loss(Perfect(wrong), batch, draw, cond, SCALING).min() > 1e-6


@ROWS
def test_the_loss_is_the_sampler_s_error_over_c_out(row: CheckpointRow) -> None:
    """What svd_denoiser makes of the same U-Net is off by c_out times the square root of the loss."""
    objective, batch = DiffusionLoss(row), clips()
    draw = objective.draw(batch, torch.Generator().manual_seed(3))
    cond = objective.conditioning(batch, draw, torch.randn(3, 4, 8, 8))

    def unet(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        return (sample[:, :, :4] * 0.3 + encoder_hidden_states.mean() + timestep.view(-1, 1, 1, 1, 1),)

    losses = objective.loss(unet, batch, draw, cond, SCALING)
    for index, sigma in enumerate(draw.sigma):
        one = Conditioning(*(value[index : index + 1] for value in vars(cond).values()))
        mean_embed = cond.image_embeds.mean() - one.image_embeds.mean()

        def alone(*args: Tensor, _off: Tensor = mean_embed, **kwargs: Any) -> tuple[Tensor]:
            return (unet(args[0], args[1].view(1), **kwargs)[0] + _off,)

        denoise, outer = svd_denoiser(alone, one, torch.float32), sigma
        noise = draw.noise[index : index + 1]
        if row is WARP:
            denoise, outer = residual(denoise, one.image_latents * SCALING, 0.6), sigma * 0.6
        clean = batch.latents[index : index + 1]
        error = (denoise(clean + outer * noise, outer) - clean).square().mean()
        scale = 0.6 if row is WARP else 1.0
        c_out_squared = sigma**2 / (sigma**2 + 1) * scale**2
        assert float(error / c_out_squared) == pytest.approx(float(losses[index]), rel=1e-3)


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
    cond = DiffusionLoss(SVD).conditioning(batch, draw, torch.ones(3, 4, 8, 8))
    assert cond.image_embeds[0].abs().sum() == 0 < cond.image_embeds[1].abs().sum()
    assert cond.image_latents[1].abs().sum() == 0 < cond.image_latents[0].abs().sum()
    torch.testing.assert_close(cond.added_time_ids[2], torch.tensor([6.0, 255.0, 0.3]))


def test_a_residual_checkpoint_never_loses_its_still() -> None:
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
