"""The loss, what is drawn to train on, resuming, and the exported folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel
from PIL import Image
from torch import Tensor

from recipes.nano.__main__ import parse
from recipes.nano.batches import Batches, Shape, fit_autoencoder
from recipes.nano.export import export
from recipes.nano.model import build_clip, build_unet
from recipes.nano.motion import FULL_FLOW
from recipes.nano.objective import Batch, Objective
from recipes.nano.photos import find_photos
from recipes.nano.recipe import train
from recipes.nano.trainer import Progress, Recipe, Trainer, learning_rate
from svd_ui.catalog import folder_row
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder, positions, warp
from svd_ui.core.sampling.denoiser import Preconditioning, residual, svd_denoiser

CHANNELS = (32, 32)


def batch_of(count: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 3, 16, 4, 6, generator=generator)
    return Batch(latents, torch.randn(count, 1, 64, generator=generator), torch.tensor([[7.0, 100.0]] * count))


class Perfect:
    """A U-Net that knows the clip: returns exactly the v that gives x0."""

    def __init__(self, target: Tensor, sigma: Tensor) -> None:
        self._target, self._pre = target, Preconditioning.at(sigma[:, None, None, None, None])

    def __call__(self, sample: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        x = sample[:, :, :16] / self._pre.c_in
        return ((self._target - self._pre.c_skip * x) / self._pre.c_out,)


def test_a_perfect_unet_has_no_loss_and_samples_the_clip() -> None:
    batch, objective, generator = batch_of(), Objective(0.6), torch.Generator().manual_seed(1)
    sigma = torch.tensor([0.3, 5.0])
    still_noise = torch.zeros(2, 16, 4, 6)
    cond = objective.conditioning(batch, still_noise, torch.tensor([0.0, 0.0]), generator)
    unet = Perfect((batch.latents - cond.image_latents) / 0.6, sigma)
    noise = torch.randn(batch.latents.shape, generator=generator)
    assert objective.loss(unet, batch, cond, sigma, noise).max() < 1e-9
    one = torch.tensor([2.0])
    plain = svd_denoiser(Perfect((batch.latents - cond.image_latents) / 0.6, one), cond, torch.float32)
    denoise = residual(plain, cond.image_latents, 0.6)
    x = batch.latents + 0.6 * 2.0 * noise
    torch.testing.assert_close(denoise(x, torch.tensor(0.6 * 2.0)), batch.latents, atol=1e-4, rtol=0)


def test_the_untrained_unet_returns_the_still() -> None:
    batch = batch_of(1)
    cond = Objective(0.6, dropout=0).conditioning(batch, torch.zeros(1, 16, 4, 6), torch.zeros(1), torch.Generator())
    unet = build_unet(16, CHANNELS).eval()
    denoise = residual(svd_denoiser(unet, cond, torch.float32), cond.image_latents, 0.6)
    x = cond.image_latents + 50 * torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = denoise(x, torch.tensor(50.0))
    assert (out - cond.image_latents).abs().max() < 0.1


def test_an_error_that_trembles_costs_more_than_one_that_stays() -> None:
    batch, generator = batch_of(1), torch.Generator().manual_seed(1)
    objective = Objective(0.6, dropout=0)
    cond = objective.conditioning(batch, torch.zeros(1, 16, 4, 6), torch.zeros(1), generator)
    sigma, noise = torch.tensor([3.0]), torch.randn(batch.latents.shape, generator=generator)
    target = (batch.latents - cond.image_latents) / 0.6

    def loss(wrong: Tensor) -> float:
        off = torch.zeros_like(target)
        off[:, :, -2:] = wrong
        return float(objective.loss(Perfect(target + off, sigma), batch, cond, sigma, noise))

    sign = torch.tensor([1.0, -1.0, 1.0])[None, :, None, None, None]
    assert loss(0.1 * sign) > 1.5 * loss(torch.tensor(0.1)) > 0


def test_only_the_motion_counts() -> None:
    batch, generator = batch_of(1), torch.Generator().manual_seed(1)
    objective, sigma = Objective(0.6, dropout=0), torch.tensor([3.0])
    cond = objective.conditioning(batch, torch.zeros(1, 16, 4, 6), torch.zeros(1), generator)
    target = (batch.latents - cond.image_latents) / 0.6
    target[:, :, :-2] = 7.0
    noise = torch.randn(batch.latents.shape, generator=generator)
    assert objective.loss(Perfect(target, sigma), batch, cond, sigma, noise).max() < 1e-9


def test_sigmas_are_stratified() -> None:
    objective = Objective(0.6)
    sigma = objective.draw_sigma(64, 576, torch.Generator().manual_seed(0)).log()
    assert sigma.mean() == pytest.approx(objective.sigma_mean, abs=0.1)
    assert sigma.std() == pytest.approx(objective.sigma_std, abs=0.2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for name in ("a", "b", "kept"):
        small = rng.uniform(0, 255, (9, 16, 3)).astype(np.uint8)
        Image.fromarray(small).resize((320, 180), Image.Resampling.BICUBIC).save(folder / f"{name}.jpg")
    return folder


@pytest.fixture(scope="module")
def vae(photos: Path) -> WarpAutoencoder:
    return fit_autoencoder(find_photos([photos], ["kept"]), np.random.default_rng(0), crops=1)


@pytest.fixture
def batches(photos: Path, vae: WarpAutoencoder) -> Batches:
    return Batches(find_photos([photos], ["kept"]), vae, build_clip(), frames=3)


def test_a_drawn_clip_moves_as_its_label_says(batches: Batches, vae: WarpAutoencoder) -> None:
    batch = batches.draw(6, Shape((6, 8), (6, 8)), np.random.default_rng(0))
    assert batch.latents.shape == (6, 3, 32, 6, 8)
    torch.testing.assert_close(batch.latents[:, 0, -2:], positions(batch.latents[:, 0]))
    for latents, (fps, bucket) in zip(batch.latents, batch.labels, strict=True):
        moved = vae.displacement(latents)
        flow = (moved[2] - moved[1]).norm(dim=0).mean() * fps / 7
        assert 0 < bucket < 255
        assert float(flow) == pytest.approx(float(bucket) / 255 * FULL_FLOW * 64, rel=0.3, abs=0.03)
    still = vae.decode(batch.latents[0, :1]).sample.detach()  # type: ignore[union-attr]
    assert warp(still, vae.displacement(batch.latents[0])).shape == (3, 3, 96, 128)


def test_a_crop_keeps_its_place(batches: Batches, vae: WarpAutoencoder) -> None:
    batch = batches.draw(4, Shape((6, 8), (3, 4)), np.random.default_rng(0))
    whole = positions(torch.zeros(1, 32, 6, 8))[0]
    for latents in batch.latents:
        found = [
            torch.allclose(latents[0, -2:], whole[:, top : top + 3, left : left + 4], atol=1e-5)
            for top in range(4)
            for left in range(5)
        ]
        assert sum(found) == 1


def trainer_of(batches: Batches, vae: WarpAutoencoder) -> Trainer:
    torch.manual_seed(0)
    recipe = Recipe(batch=2, warmup_steps=2, native_from=2.0)
    return Trainer(build_unet(32, CHANNELS), vae, batches, recipe, torch.device("cpu"), seed=5)


def steps(trainer: Trainer, count: int) -> list[float]:
    losses = []
    for _ in range(count):
        losses.append(trainer.step()["loss"])
        trainer.progress.step += 1
    return losses


def test_resume_continues_the_same_losses(tmp_path: Path, batches: Batches, vae: WarpAutoencoder) -> None:
    torch.set_num_threads(1)
    whole = trainer_of(batches, vae)
    steps(whole, 2)
    torch.save(whole.state(), tmp_path / "state.pt")
    expected = steps(whole, 2)
    resumed = trainer_of(batches, vae)
    resumed.load(tmp_path / "state.pt")
    assert steps(resumed, 2) == pytest.approx(expected, rel=1e-4)
    for a, b in zip(resumed.ema, whole.ema, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_learning_rate_warms_up_and_ends_low() -> None:
    recipe = Recipe(minutes=10, learning_rate=1.0, warmup_steps=10)
    assert learning_rate(recipe, Progress(0, 0.0)) == pytest.approx(0.1)
    assert learning_rate(recipe, Progress(50, 0.0)) == pytest.approx(1.0)
    assert learning_rate(recipe, Progress(500, 600.0)) == pytest.approx(0.02)
    assert learning_rate(replace(recipe, minutes=0.001), Progress(500, 600.0)) == pytest.approx(0.02)


def test_held_out_photographs_are_left_out(photos: Path) -> None:
    assert [p.stem for p in find_photos([photos], ["kept"])] == ["a", "b"]
    job = parse(["--photos", str(photos), "--work", "w"])
    assert {"chelsea", "coffee"} <= set(job.held_out)


def test_the_command_trains_stops_and_goes_on(photos: Path, tmp_path: Path) -> None:
    """Two steps: the first uses up the time that is given, the second a longer run's."""
    work, out = tmp_path / "work", tmp_path / "out"
    arguments = ["--photos", str(photos), "--work", str(work), "--out", str(out), "--processes", "1", "--seed", "3"]
    for minutes in (1e-9, 1.0):
        job = parse([*arguments, "--minutes", str(minutes)])
        if (work / "state.pt").exists():
            minutes = torch.load(work / "state.pt", weights_only=True)["progress"]["seconds"] / 60 + 1e-9
        train(replace(job, recipe=replace(job.recipe, minutes=minutes, batch=1, native_from=2.0)))
    log = [json.loads(line) for line in (work / "log-0.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert all(np.isfinite(line["loss"]) for line in log)
    assert folder_row(out).family == "warp"


def test_export(vae: WarpAutoencoder, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    vae.save_pretrained(tmp_path / "vae")
    vae = WarpAutoencoder.from_pretrained(tmp_path / "vae")
    export(folder, build_unet(32, CHANNELS), vae, 0.3)
    assert UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet").config.out_channels == 32
    settings = json.loads((folder / "svd_ui.json").read_text())
    assert len(settings["preview"]) == 32
    assert (settings["family"], settings["motion_gain"], settings["size_multiple"]) == ("warp", 48.0, 16)
    index = json.loads((folder / "model_index.json").read_text())
    assert index["vae"] == ["svd_ui.core.families.warp_autoencoder", "WarpAutoencoder"]
    assert not list(folder.rglob("*.bin"))
    assert not any(str(tmp_path) in file.read_text() for file in folder.rglob("*.json"))
