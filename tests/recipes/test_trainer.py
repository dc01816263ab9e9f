"""The loss, what is drawn to train on, resuming, and the exported folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel
from PIL import Image
from torch import Tensor

from recipes.nano import trainer as training
from recipes.nano.__main__ import parse
from recipes.nano.batches import Batches, fit_autoencoder
from recipes.nano.cutouts import Cutout
from recipes.nano.export import MOTION_PATHS, export
from recipes.nano.model import build_clip, build_unet
from recipes.nano.moves import CAMERAS
from recipes.nano.objective import Batch, Objective
from recipes.nano.photos import find_photos
from recipes.nano.recipe import train
from recipes.nano.trainer import Progress, Recipe, Stream, Trainer, learning_rate
from svd_ui.catalog import folder_row
from svd_ui.core.families.warp import NEAR_UNIT, STIR_UNIT
from svd_ui.core.families.warp_autoencoder import (
    CAMERA,
    RELIEF,
    SCENE_CHANNELS,
    WarpAutoencoder,
    coherent,
    coherent_noise,
    parts_of,
)
from svd_ui.core.sampling.denoiser import Preconditioning

CHANNELS = (32, 32)
COMPONENTS = 7
LATENTS = COMPONENTS + SCENE_CHANNELS
RELIEF_AT = slice(COMPONENTS + CAMERA, COMPONENTS + CAMERA + RELIEF)


def batch_of(count: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    told = coherent(torch.randn(count, 3, SCENE_CHANNELS, 4, 6, generator=generator))
    stills = torch.randn(count, LATENTS, 4, 6, generator=generator)
    return Batch(stills, told, torch.randn(count, 1, 64, generator=generator), torch.tensor([[7.0, 100.0]] * count))


def unit_noise(batch: Batch) -> Tensor:
    return torch.randn(batch.told.shape, generator=torch.Generator().manual_seed(1))


class Perfect:
    """A U-Net that knows the scene: the v of its drift, and the rest as it is. ``off`` is added to what it says."""

    def __init__(self, batch: Batch, sigma: Tensor, off: Tensor | float = 0.0) -> None:
        self._batch, self._sigma, self._off = batch, sigma[:, None, None, None, None], off
        self.seen: Tensor | None = None

    def __call__(self, sample: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        self.seen, pre = sample, Preconditioning.at(self._sigma)
        _, relief, drift = parts_of(self._batch.told)
        x = drift + self._sigma * parts_of(coherent_noise(unit_noise(self._batch)))[2]
        says = torch.cat(
            [torch.full((len(x), 3, COMPONENTS + CAMERA, 4, 6), 7.0), relief, (drift - pre.c_skip * x) / pre.c_out],
            dim=2,
        )
        return (says + self._off,)


def losses(batch: Batch, sigma: Tensor, off: Tensor | float = 0.0) -> dict[str, Tensor]:
    objective = Objective()
    cond = objective.conditioning(
        batch, torch.zeros_like(batch.stills), torch.zeros(len(sigma)), torch.ones(len(sigma))
    )
    return objective.loss(Perfect(batch, sigma, off), batch, cond, sigma, unit_noise(batch))


def test_a_perfect_unet_has_no_loss_whatever_it_says_of_the_camera() -> None:
    found = losses(batch_of(), torch.tensor([0.3, 5.0]))
    assert {*found} == {"relief", "drift"}
    assert max(float(loss.max()) for loss in found.values()) < 1e-6


def test_a_wrong_depth_and_a_wrong_drift_each_cost_their_own() -> None:
    batch, sigma = batch_of(), torch.tensor([0.3, 5.0])
    off = torch.zeros(2, 3, LATENTS, 4, 6)
    off[:, :, RELIEF_AT] = 0.1
    found = losses(batch, sigma, off)
    assert found["relief"].tolist() == pytest.approx([0.01, 0.01], rel=1e-3)
    assert found["drift"].max() < 1e-6


def test_a_drift_where_nothing_stirs_hardly_counts() -> None:
    batch, off = batch_of(), torch.zeros(2, 3, LATENTS, 4, 6)
    off[:, :, -2:] = 0.1
    cost = []
    for stirs in (0.0, 1.0):
        batch.told[:, :, CAMERA + 1] = stirs
        cost.append(losses(batch, torch.tensor([3.0, 3.0]), off)["drift"].mean())
    assert cost[0] < 0.01 * cost[1]


def test_an_error_that_trembles_costs_more_than_one_that_stays() -> None:
    batch = batch_of(1)
    batch.told[:, :, CAMERA + 1] = 1.0
    off = torch.zeros(1, 3, LATENTS, 4, 6)
    off[:, :, -2:] = 0.1
    sign = torch.tensor([1.0, -1.0, 1.0])[None, :, None, None, None]
    steady, trembling = (losses(batch, torch.tensor([3.0]), one)["drift"] for one in (off, off * sign))
    assert trembling > 1.5 * steady > 0


def test_the_unet_is_shown_what_is_diffused_and_the_still() -> None:
    batch, sigma, objective = batch_of(1), torch.tensor([2.0]), Objective()
    cond = objective.conditioning(batch, torch.ones_like(batch.stills), torch.tensor([0.5]), torch.zeros(1))
    assert cond.image_embeds.abs().max() == 0
    torch.testing.assert_close(cond.image_latents[:, 1], batch.stills + 0.5)
    torch.testing.assert_close(cond.added_time_ids, torch.tensor([[6.0, 100.0, 0.5]]))
    unet = Perfect(batch, sigma)
    objective.loss(unet, batch, cond, sigma, unit_noise(batch))
    assert unet.seen is not None
    diffused, still = unet.seen.split(LATENTS, dim=2)
    torch.testing.assert_close(still, cond.image_latents)
    assert diffused[:, :, :COMPONENTS].abs().max() == diffused[:, :, RELIEF_AT].abs().max() == 0
    noisy = batch.told + 2.0 * coherent_noise(unit_noise(batch))
    torch.testing.assert_close(diffused[:, :, -2:], noisy[:, :, -2:] / 5**0.5)


def test_sigmas_are_stratified() -> None:
    objective, generator = Objective(), torch.Generator().manual_seed(0)
    sigma = objective.draw_sigma(torch.rand(64, generator=generator), torch.rand(64, generator=generator)).log()
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
    return Batches(find_photos([photos], ["kept"]), [], vae.patch_size)


def tree() -> Cutout:
    return Cutout(np.full((60, 40, 3), 120, np.uint8), np.ones((60, 40), np.float32), sways=True)


def test_what_is_drawn_of_a_plain_photograph_is_still_and_flat(batches: Batches) -> None:
    drawn = batches.draw(3, (6, 8), 4, np.random.default_rng(0))
    assert drawn.stills.shape == (3, 3, 96, 128)
    assert drawn.stills.dtype == torch.uint8
    assert (drawn.relief.shape, drawn.drift.shape) == ((3, 2, 6, 8), (3, 4, 2, 6, 8))
    assert drawn.relief.abs().max() == drawn.drift.abs().max() == 0
    fps, buckets = drawn.labels.unbind(1)
    assert (fps.min(), buckets.min()) >= (4, 1)
    again = batches.draw(3, (6, 8), 4, np.random.default_rng(0))
    assert all(torch.equal(one, other) for one, other in zip(vars(drawn).values(), vars(again).values(), strict=True))


def test_what_stands_in_front_is_near_and_a_tree_sways(photos: Path) -> None:
    with_trees = Batches(find_photos([photos], ["kept"]), [tree()], 16)
    drawn = with_trees.draw(24, (6, 8), 4, np.random.default_rng(0))
    nearness, stirring = drawn.relief.unbind(1)
    assert nearness.mean(dim=(1, 2)).abs().max() < 1e-5
    there = stirring.amax(dim=(1, 2)) * STIR_UNIT > 0.9
    assert 0.3 < there.float().mean() < 1
    for depth, stirs, drift in zip(nearness[there], stirring[there], drawn.drift[there], strict=True):
        tallest = stirs > 0.9 / STIR_UNIT
        assert depth[tallest].mean() * NEAR_UNIT > depth[~tallest].mean() * NEAR_UNIT + 0.2
        assert drift[0].abs().max() < 1e-6
        assert drift[1:].abs().max() > 0.05


def test_the_camera_of_a_batch_is_of_the_moves_that_are_known(batches: Batches, vae: WarpAutoencoder) -> None:
    trainer = trainer_of(batches, vae)
    drawn = batches.draw(4, (6, 8), 4, np.random.default_rng(0))
    batch = trainer._batch(drawn)
    assert batch.stills.shape == (4, 32, 6, 8)
    camera, relief, drift = parts_of(batch.told)
    assert camera[:, 0].abs().max() == 0
    torch.testing.assert_close(camera, camera[..., :1, :1].expand_as(camera))
    torch.testing.assert_close(relief[:, 2], drawn.relief)
    torch.testing.assert_close(drift, drawn.drift)
    means = camera[:, 1:, :, 0, 0].mean(dim=1)
    known = trainer._known[:, :CAMERA]
    assert (means[:, None] - known).abs().amax(dim=2).amin(dim=1).max() < 1e-4


def test_a_batch_has_one_shape_of_about_as_many_cells(batches: Batches, vae: WarpAutoencoder) -> None:
    recipe = Recipe(cells=8064)
    stream = Stream(batches, recipe, Progress(0, 60 * 60 * 10.0), [0, 0])
    rng = np.random.default_rng(0)
    drawn = {stream._next(rng) for _ in range(200)}
    assert {shape for shape, _ in drawn} == {shape for shape, _ in training.WHOLE}
    assert {frames for _, frames in drawn} == {4, 8, 14}
    early = Stream(batches, recipe, Progress(), [0, 0])
    assert {early._next(rng)[0] for _ in range(100)} == {shape for shape, _ in training.SMALL}


def trainer_of(batches: Batches, vae: WarpAutoencoder) -> Trainer:
    torch.manual_seed(0)
    recipe = Recipe(cells=2 * 4 * 144, warmup_steps=2, native_from=2.0)
    return Trainer(build_unet(32, CHANNELS), vae, build_clip(), batches, recipe, torch.device("cpu"), seed=5)


def steps(trainer: Trainer, count: int) -> list[float]:
    losses = []
    for _ in range(count):
        losses.append(trainer.step()["loss"])
        trainer.progress.step += 1
    return losses


def test_resume_continues_the_same_losses(
    tmp_path: Path, batches: Batches, vae: WarpAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same clips: those are drawn anew."""
    drawn = batches.draw(2, (9, 16), 4, np.random.default_rng(0))
    monkeypatch.setattr(Stream, "__iter__", lambda self: iter([drawn] * 8))
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
        train(replace(job, recipe=replace(job.recipe, minutes=minutes, cells=1, native_from=2.0)))
    log = [json.loads(line) for line in (work / "log-0.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert all(np.isfinite(line["loss"]) for line in log)
    assert folder_row(out).family == "warp"


def test_a_cutout_folder_is_used(photos: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "tree.png"), np.full((30, 20, 4), 255, np.uint8))
    job = parse(["--photos", str(photos), "--work", "w", "--cutouts", str(tmp_path)])
    assert job.cutouts == tmp_path


def test_export(vae: WarpAutoencoder, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    vae.save_pretrained(tmp_path / "vae")
    vae = WarpAutoencoder.from_pretrained(tmp_path / "vae")
    export(folder, build_unet(32, CHANNELS), vae)
    assert UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet").config.out_channels == 32
    settings = json.loads((folder / "svd_ui.json").read_text())
    assert len(settings["preview"]) == 32
    row = folder_row(folder)
    assert (row.family, row.size_multiple, row.fps, row.num_frames) == ("warp", 16, 5, 14)
    assert (row.motion_paths, [kind for kind, _ in row.moves]) == (MOTION_PATHS, [*CAMERAS])
    index = json.loads((folder / "model_index.json").read_text())
    assert index["vae"] == ["svd_ui.core.families.warp_autoencoder", "WarpAutoencoder"]
    assert not list(folder.rglob("*.bin"))
    assert not any(str(tmp_path) in file.read_text() for file in folder.rglob("*.json"))
