"""Sampling a scene: the dial, the kinds of moves, and units of every clip in a batch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import NANO, folder_row, nano_row
from svd_ui.core.families import verbs_of
from svd_ui.core.families.camera_moves import moves
from svd_ui.core.families.scene import ARC, Scene, grid
from svd_ui.core.families.warp import MEAN_DEPTH, WarpVerbs, camera_speeds, scene_units
from svd_ui.core.families.warp_autoencoder import CAMERA, MOTION_GAIN, SCENE_CHANNELS
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.errors import BadInput
from tests.core.conftest import CPU_PLAN, prepared, request
from tests.tiny import save_tiny_svd, save_tiny_warp


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """Its U-Net says nothing: what comes out is what the family knows without it."""
    folder = save_tiny_warp(tmp_path_factory.mktemp("models") / "warp")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


@pytest.fixture(scope="module")
def nano() -> Runtime:
    return Runtime(nano_row(), NANO, CPU_PLAN)


def made(runtime: Runtime, **values: Any) -> Tensor:
    """Raw latents [F C h w]."""
    defaults = {"width": 128, "height": 64, "num_frames": 14, "fps": 5, "max_guidance_scale": 1.0, "seed": 3}
    asked = request(**(defaults | {"num_inference_steps": 8} | values))
    *_, last = sample(prepared(runtime, asked, generator=seeded(asked.seed or 0)))
    return last.latents[0] / runtime.scaling_factor


def path(scene: Scene) -> float:
    """How far what is seen goes from frame to frame, summed over the clip, in the mean over the frame, as a share of its
    longer side.
    """
    return float(scene.displacement().diff(dim=0).norm(dim=1).mean(dim=(1, 2)).sum()) / 2


def speed(runtime: Runtime, motion: float) -> float:
    return float(camera_speeds(runtime.row, torch.tensor([float(motion)])))


def units(runtime: Runtime, motion: float, fps: float, arm: float) -> list[float]:
    """Of each of a scene's channels, for one clip."""
    of_clips = scene_units(runtime.row, torch.tensor([float(motion)]), torch.tensor([float(fps)]), arm)
    return of_clips[0].tolist()  # type: ignore[no-any-return]


def asked_path(runtime: Runtime, motion: float, frames: int, fps: float) -> float:
    return speed(runtime, motion) * (frames - 1) / fps


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"motion_bucket_id": 30},
        {"motion_bucket_id": 255},
        {"num_frames": 4},
        {"fps": 12, "num_frames": 20},
        {"width": 64, "height": 128},
        {"width": 128, "height": 128},
    ],
    ids=lambda values: " ".join(f"{name} {value}" for name, value in values.items()) or "as it comes",
)
def test_a_clip_goes_as_far_as_motion_says(tiny: Runtime, values: dict[str, int]) -> None:
    """Whatever its length, rate and shape; the checkpoint's own motion_paths are what is promised."""
    motion, frames, fps = (values.get(*one) for one in (("motion_bucket_id", 127), ("num_frames", 14), ("fps", 5)))
    paths = [path(tiny.vae.scene(made(tiny, seed=seed, **values))) for seed in (1, 2)]
    assert paths == pytest.approx([asked_path(tiny, motion, frames, fps)] * 2, rel=0.35)


@pytest.mark.parametrize("values", [{}, {"num_frames": 25, "fps": 12}, {"width": 288, "height": 512}], ids=str)
def test_nano_goes_as_far_too(nano: Runtime, values: dict[str, int]) -> None:
    values = {"width": 512, "height": 288, "num_inference_steps": 4} | values
    found = path(nano.vae.scene(made(nano, **values)))
    wanted = asked_path(nano, 127, values.get("num_frames", 14), values.get("fps", 5))
    assert found == pytest.approx(wanted, rel=0.35)


def test_a_seed_makes_the_kind_of_move_it_is_for(tiny: Runtime) -> None:
    kinds = [kind for kind, some in tiny.row.moves for _ in some]
    known = moves(tiny.row, 14).flatten(1)
    arm = float(grid(4, 8, torch.empty(0)).norm(dim=0).mean())
    unit = torch.tensor(units(tiny, 127, 5, arm)[:CAMERA]) / MOTION_GAIN
    for seed in range(8):
        pose = tiny.vae.scene(made(tiny, seed=seed)).pose
        steps = torch.cat([torch.zeros(1, CAMERA), pose.diff(dim=0)]) / unit
        nearest = (known - steps.flatten()).square().sum(dim=1).argmin()
        assert kinds[int(nearest)] == tiny.row.moves[seed % len(tiny.row.moves)][0]


@pytest.mark.parametrize(
    ("channel", "nearness"),
    [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (4, MEAN_DEPTH)],
    ids=["x", "y", "zoom", "roll", "arc"],
)
@pytest.mark.parametrize("cells", [(18, 32), (32, 18)], ids=["wide", "tall"])
def test_a_unit_of_each_part_of_a_move_is_one_step_of_the_asked_path(
    tiny: Runtime, channel: int, nearness: float, cells: tuple[int, int]
) -> None:
    arm = float(grid(*cells, torch.empty(0)).norm(dim=0).mean())
    pose = torch.zeros(1, 5)
    pose[0, channel] = units(tiny, 60, 5, arm)[channel] / MOTION_GAIN
    depth = torch.full(cells, nearness)
    depth[:, : cells[1] // 2] *= -1
    moved = Scene(pose, depth, torch.zeros(1, 2, *cells)).displacement().norm(dim=1)
    step = 2 * speed(tiny, 60) / 5  # in halves of the longer side
    # At the step between near and far an arc is softened over a cell or two.
    assert float(moved.mean()) == pytest.approx(step, rel=0.06 if channel == 4 else 0.02)
    assert ARC > 0


def test_twice_the_rate_halves_the_step_and_motion_lengthens_it(tiny: Runtime) -> None:
    at = {fps: units(tiny, 100, fps, 0.5) for fps in (5, 10)}
    assert at[10][:CAMERA] == pytest.approx([unit / 2 for unit in at[5][:CAMERA]])
    assert at[10][CAMERA:] == at[5][CAMERA:]
    steps = [units(tiny, motion, 5, 0.5) for motion in range(1, 256)]
    assert all(a[0] < b[0] and a[-1] < b[-1] for a, b in itertools.pairwise(steps))


def test_noise_is_given_to_the_scene_alone_in_the_units_of_each_clip(tiny: Runtime) -> None:
    context = prepared(tiny, request(width=128, height=64, num_frames=14, fps=5))
    verbs, channels = verbs_of(tiny.row), tiny.latent_channels
    times = torch.tensor([[4.0, 30, 0], [4.0, 255, 0]])
    cond = context.conditioning
    both = type(cond)(*(value.expand(2, *value.shape[1:]) for value in (cond.image_embeds, cond.image_latents)), times)
    noise = torch.randn(1, 14, channels, 4, 8, generator=seeded(0)).expand(2, -1, -1, -1, -1)
    began = verbs.start(tiny, context.sigmas(), both, noise, [0, 0])
    off = began - both.image_latents * tiny.scaling_factor
    assert off[:, :, :-SCENE_CHANNELS].abs().max() == 0
    calm, lively = off[:, :, -SCENE_CHANNELS]
    torch.testing.assert_close(lively, calm * speed(tiny, 255) / speed(tiny, 30), rtol=1e-4, atol=1e-3)


def test_what_is_diffused_and_what_the_denoiser_gives_are_each_others_inverse(tiny: Runtime) -> None:
    """A clip without noise stays what it is, where the U-Net knows it."""
    context = prepared(tiny, request(width=128, height=64, num_frames=14, fps=5, motion_bucket_id=90))
    verbs, cond, row = verbs_of(tiny.row), context.conditioning, tiny.row
    still = cond.image_latents * tiny.scaling_factor
    x = still + verbs.noise(row, torch.randn(still.shape, generator=seeded(1)))
    r = verbs.diffused(row, x, still, cond.added_time_ids)
    sigma = torch.tensor(2.0)
    guess, trust = verbs.skip(row, r, sigma)
    answer = torch.where(trust == 0, torch.zeros(()), (r - guess) / trust)
    denoise = verbs.denoiser(tiny, lambda *_, **__: (answer,), cond)
    torch.testing.assert_close(denoise(x, sigma), x, atol=1e-4, rtol=1e-4)


def test_the_unet_sees_no_noise_where_the_still_alone_tells(tiny: Runtime) -> None:
    seen = WarpVerbs().shown(tiny.row, torch.ones(1, 4, tiny.latent_channels, 2, 2))[0, 0, :, 0, 0]
    assert seen.tolist() == [0] * (tiny.latent_channels - SCENE_CHANNELS) + [1] * CAMERA + [0, 0, 1, 1]


def test_a_row_is_a_key_and_comes_back_from_what_is_written_of_it(tiny: Runtime) -> None:
    """What is kept between clips is kept by row; a trained checkpoint's file says what its base's row does."""
    assert hash(tiny.row) == hash(tiny.row.model_copy())
    assert type(tiny.row).model_validate_json(tiny.row.model_dump_json()) == tiny.row


def test_a_checkpoint_of_an_earlier_nano_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {"form": "residual", "residual_scale": 0.3, "motion_gain": 48.0, "size_multiple": 16}
    folder = save_tiny_svd(tmp_path / "my-nano", svd_ui=old)
    with pytest.raises(BadInput, match="my-nano was made for an earlier nano.*train it anew") as caught:
        folder_row(folder)
    assert caught.value.field == "checkpoint"
