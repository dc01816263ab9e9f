"""Tiles of a draft wall: made one at a time or together, each is the clip that its request alone would give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core import wall
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decoder_of
from svd_ui.core.families.warp import camera_speeds
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.core.wall import Batch
from svd_ui.engine import CancelToken, never
from svd_ui.errors import Cancelled
from svd_ui.request import MAX_SEED, GenerationRequest, Wall
from tests.tiny import save_tiny_warp

from .conftest import CPU_PLAN, picture, prepared, request

WALL = Wall(seeds=2, motion_bucket_ids=(30, 220))


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """A checkpoint that diffuses a scene in units of each clip's motion, as nano does."""
    folder = save_tiny_warp(tmp_path_factory.mktemp("warp") / "tiny")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


def wall_request(**values: object) -> GenerationRequest:
    return request(seed=5, noise_aug_strength=0.1, wall=WALL, **values)


def alone(runtime: Runtime, still: Image.Image, asked: GenerationRequest) -> Tensor:
    """The latents of an ordinary request."""
    assert asked.seed is not None
    assert asked.wall is None
    *_, last = sample(prepared(runtime, asked, still, seeded(asked.seed)))
    return last.latents


def whole_wall(runtime: Runtime, still: Image.Image, asked: GenerationRequest) -> Batch:
    return wall.whole_wall(runtime, still, ClipSpec.of(asked, runtime.row))


def steps_of(runtime: Runtime, batch: Batch, asked: GenerationRequest, cancel: CancelToken) -> Iterator[Batch]:
    decoder = decoder_of(runtime, picture(64, 64))
    return wall.sample_batch(decoder, batch, ClipSpec.of(asked, runtime.row), cancel)


def finished(runtime: Runtime, batch: Batch, asked: GenerationRequest) -> list[Tensor]:
    *_, last = steps_of(runtime, batch, asked, never())
    return last.latents()


def one_by_one(batch: Batch) -> list[Batch]:
    if len(batch) == 1:
        return [batch]
    first, rest = batch.split(1)
    return [first, *one_by_one(rest)]


@pytest.mark.parametrize("extra", [{}, {"cache_interval": 2}, {"max_guidance_scale": 1.0}])
def test_every_tile_is_the_clip_of_its_seed_and_motion(
    runtime: Runtime, still: Callable[[int, int], Image.Image], extra: dict[str, object]
) -> None:
    asked, picture = wall_request(**extra), still(64, 64)
    single = [alone(runtime, picture, asked.tile(seed, motion)) for seed, motion in WALL.pairs(5)]
    assert not any(torch.allclose(single[0], other, atol=1e-2) for other in single[1:])
    whole = whole_wall(runtime, picture, asked)
    for made, expected in zip(finished(runtime, whole, asked), single, strict=True):
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
    for one, expected in zip(one_by_one(whole_wall(runtime, picture, asked)), single, strict=True):
        assert torch.equal(finished(runtime, one, asked)[0], expected)


def test_a_wall_of_scenes_has_each_seed_s_move_as_far_as_each_motion_says(
    warp: Runtime, still: Callable[[int, int], Image.Image]
) -> None:
    asked, picture = wall_request(num_inference_steps=6, max_guidance_scale=1.0), still(64, 64)
    made = finished(warp, whole_wall(warp, picture, asked), asked)
    ends = []
    for latents, (seed, motion) in zip(made, WALL.pairs(5), strict=True):
        expected = alone(warp, picture, asked.tile(seed, motion))
        torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)
        ends.append(warp.vae.scene(latents[0] / warp.scaling_factor).pose[-1])
    fast, slow = camera_speeds(warp.row, torch.tensor([220.0, 30.0])).tolist()
    faster = fast / slow
    for calm, lively in (ends[:2], ends[2:]):
        torch.testing.assert_close(lively, faster * calm, atol=1e-4, rtol=0.02)
    assert torch.cosine_similarity(ends[0], ends[2], dim=0) < 0.9  # the next seed is for another kind


def test_a_batch_split_halfway_goes_on_from_its_last_step(
    runtime: Runtime, still: Callable[[int, int], Image.Image]
) -> None:
    asked = wall_request()
    whole = finished(runtime, whole_wall(runtime, still(64, 64), asked), asked)
    steps = steps_of(runtime, whole_wall(runtime, still(64, 64), asked), asked, never())
    next(steps)
    halfway = next(steps)
    steps.close()
    first, rest = halfway.split(3)
    assert (halfway.steps_done, first.places, rest.places, rest.steps_done) == (2, (0, 1, 2), (3,), 2)
    made = [*finished(runtime, first, asked), *finished(runtime, rest, asked)]
    torch.testing.assert_close(made, whole, atol=1e-4, rtol=1e-4)


def test_the_still_is_encoded_once_for_each_seed(
    runtime: Runtime, still: Callable[[int, int], Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counting(*args: object) -> object:
        seen.append(1)
        return condition(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(wall, "condition", counting)
    batch = whole_wall(runtime, still(64, 64), wall_request())
    assert (len(batch), len(seen)) == (4, 2)
    assert batch.conditioning.added_time_ids[:, 1].tolist() == [30, 220, 30, 220]


def test_cancelling_ends_within_one_call(runtime: Runtime, still: Callable[[int, int], Image.Image]) -> None:
    asked, cancel = wall_request(), threading.Event()
    steps = steps_of(runtime, whole_wall(runtime, still(64, 64), asked), asked, cancel)
    next(steps)
    cancel.set()
    with pytest.raises(Cancelled):
        next(steps)


def test_seeds_count_on_and_wrap() -> None:
    assert [seed for seed, _ in Wall(seeds=3, motion_bucket_ids=(9,)).pairs(MAX_SEED - 1)] == [
        MAX_SEED - 1,
        MAX_SEED,
        0,
    ]
    assert WALL.pairs(7) == ((7, 30), (7, 220), (8, 30), (8, 220))
