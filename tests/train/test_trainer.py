"""The loss, the dial's labels in a cache, resuming, and the exported folder."""

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

from svd_ui.core.denoiser import Preconditioning, residual, svd_denoiser
from svd_ui.core.patch_autoencoder import PatchAutoencoder, fit, latents_of
from svd_ui.train.__main__ import parse
from svd_ui.train.batches import Batches
from svd_ui.train.cache import ClipSet, fit_autoencoder, read_cache, write_cache
from svd_ui.train.export import export
from svd_ui.train.model import build_clip, build_unet
from svd_ui.train.objective import Batch, Objective
from svd_ui.train.painting import Drift, refine, unsteadiness, with_hidden
from svd_ui.train.photos import find_photos
from svd_ui.train.trainer import Progress, Recipe, Trainer, learning_rate

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


def test_sigmas_are_stratified() -> None:
    sigma = Objective(0.6).draw_sigma(64, torch.Generator().manual_seed(0)).log()
    assert sigma.mean() == pytest.approx(2.6, abs=0.1)
    assert sigma.std() == pytest.approx(1.0, abs=0.2)


def clip_set() -> ClipSet:
    rng = np.random.default_rng(0)
    return ClipSet(rng.normal(size=(3, 3, 16, 4, 6)).astype(np.float16), np.full((3, 2), 7, np.float32))


def trainer_of() -> Trainer:
    vae = PatchAutoencoder()
    torch.manual_seed(0)
    unet = build_unet(16, CHANNELS)
    recipe = Recipe(batch=2, crop=(4, 4), warmup_steps=2, native_from=1.0)
    return Trainer(unet, vae, Batches([clip_set()], vae, build_clip()), recipe, torch.device("cpu"), seed=5)


def steps(trainer: Trainer, count: int) -> list[float]:
    losses = []
    for _ in range(count):
        losses.append(trainer.step()["loss"])
        trainer.progress.step += 1
    return losses


def test_resume_continues_the_same_losses(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = trainer_of()
    steps(whole, 2)
    torch.save(whole.state(), tmp_path / "state.pt")
    expected = steps(whole, 2)
    resumed = trainer_of()
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for name in ("a", "b", "kept"):
        small = rng.uniform(0, 255, (9, 16, 3)).astype(np.uint8)
        Image.fromarray(small).resize((320, 180), Image.Resampling.BICUBIC).save(folder / f"{name}.jpg")
    return folder


def test_held_out_photographs_are_left_out(photos: Path) -> None:
    assert [p.stem for p in find_photos([photos], ["kept"])] == ["a", "b"]
    job = parse(["nano", "--photos", str(photos), "--work", "w"])
    assert {"chelsea", "coffee"} <= set(job.held_out)


def test_cache_and_export(photos: Path, tmp_path: Path) -> None:
    paths = find_photos([photos], ["kept"])
    vae = fit_autoencoder(paths, np.random.default_rng(0), crops=1)
    write_cache(tmp_path / "clips", paths, vae, (48, 64), 2, 3, seed=0)
    clips = read_cache(tmp_path / "clips")
    assert clips.latents.shape == (2, 3, 16, 6, 8)
    assert (clips.labels[:, 1] > 0).all()
    assert (clips.labels[:, 1] <= 255).all()
    folder = tmp_path / "out"
    export(folder, build_unet(16, CHANNELS), vae, 0.6)
    assert UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet").config.out_channels == 16
    settings = json.loads((folder / "svd_ui.json").read_text())
    assert len(settings["preview"]) == 16
    assert settings["form"] == "residual"
    index = json.loads((folder / "model_index.json").read_text())
    assert index["vae"] == ["svd_ui.core.patch_autoencoder", "PatchAutoencoder"]
    assert not list(folder.rglob("*.bin"))


def test_the_decoder_learns_to_be_steady_along_a_drift() -> None:
    vae = fit(torch.rand(4, 3, 48, 64, generator=torch.Generator().manual_seed(0)), components=14)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 60, 90, generator=torch.Generator().manual_seed(1)), 5, 1)
    frames = torch.stack([0.5 * (smooth[0, :, :48, t : t + 64] + smooth[0, :, :48, t + 1 : t + 65]) for t in range(8)])
    drift = Drift(frames, latents_of(vae, frames), latents_of(vae, frames), 0.999)

    def cost(model: PatchAutoencoder) -> float:
        painted = model.paint(drift.clean, num_frames=8)
        return float((painted - frames).abs().mean() + unsteadiness(painted, drift.flow))

    refined = refine(vae, [drift], steps=30)
    assert cost(refined) < cost(vae)
    assert not any(p.requires_grad for p in refined.parameters())
    with torch.no_grad():
        torch.testing.assert_close(with_hidden(vae, 0).paint(drift.clean, 8), vae.paint(drift.clean, 8))
