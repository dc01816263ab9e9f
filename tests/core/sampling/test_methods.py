"""The sampler's algebra, cancelling, and checkpoints that diffuse what happens in front of the still."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from svd_ui.catalog import folder_row
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.families.warp_autoencoder import SCENE_CHANNELS
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import gaussian, seeded
from svd_ui.errors import Cancelled
from tests.core.conftest import CPU_PLAN, picture, prepared, request
from tests.tiny import save_tiny_warp


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save_tiny_warp(tmp_path_factory.mktemp("models") / "warp")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


def test_steps_count_from_one_and_the_last_is_clean(runtime: Runtime) -> None:
    asked = request()
    context = prepared(runtime, asked)
    steps = list(sample(context))
    assert [(step.index, step.total) for step in steps] == [(i, 4) for i in range(1, 5)]
    torch.testing.assert_close(steps[-1].latents, steps[-1].denoised)
    assert steps[-1].latents.dtype == torch.float32
    assert not steps[-1].latents.requires_grad


def test_gradients_stay_on_for_whoever_reads_the_steps(runtime: Runtime) -> None:
    asked = request(num_inference_steps=1)
    context = prepared(runtime, asked)
    for _ in sample(context):
        assert torch.is_grad_enabled()


def test_cancelling_stops_before_the_next_call_of_the_unet(runtime: Runtime) -> None:
    asked, cancel, calls = request(), threading.Event(), []
    context = prepared(runtime, asked)
    runtime.unet.register_forward_pre_hook(lambda *_: calls.append(cancel.set()))
    with pytest.raises(Cancelled):
        list(sample(replace(context, cancel=cancel)))
    assert len(calls) == 1  # not even the second half of the guided step


def test_cancelling_stops_decoding_between_chunks(runtime: Runtime) -> None:
    cancel = threading.Event()
    frames = decode(decoder_of(runtime, picture(64, 64)), torch.zeros(1, 4, 4, 8, 8), 2, cancel)
    assert next(frames).shape == (2, 64, 64, 3)
    cancel.set()
    with pytest.raises(Cancelled):
        next(frames)


def test_a_run_goes_on_from_any_step(runtime: Runtime) -> None:
    asked = request()
    context = prepared(runtime, asked)
    steps = list(sample(context))
    rest = list(sample(replace(context, resume=steps[1])))
    assert [step.index for step in rest] == [3, 4]
    torch.testing.assert_close(rest[-1].latents, steps[-1].latents)


def test_what_only_moves_keeps_the_still_in_every_other_channel(warp: Runtime) -> None:
    """At every step, so that a clip that is cancelled or seen on the way is one of the still too."""
    context = prepared(warp, request(width=128, num_frames=6))
    for step in sample(context):
        torch.testing.assert_close(step.latents[:, :, :-SCENE_CHANNELS], context.still[:, :, :-SCENE_CHANNELS])
        assert (step.latents - context.still)[:, :, -SCENE_CHANNELS:].abs().max() > 1e-3


def test_guidance_takes_the_embedding_away_and_leaves_the_still(warp: Runtime) -> None:
    context = prepared(warp, request(width=128))
    x = context.start()
    with_both, without = context.pair()(x, context.sigmas()[0])
    for estimate in (with_both, without):
        torch.testing.assert_close(estimate[:, :, :-SCENE_CHANNELS], context.still[:, :, :-SCENE_CHANNELS])


def test_bfloat16_stays_close_and_latents_stay_in_float32(tiny_folder: Path, runtime: Runtime) -> None:
    asked = request()
    context = prepared(runtime, asked)
    *_, exact = sample(context)
    plan = replace(CPU_PLAN, dtype=torch.bfloat16)
    context = prepared(Runtime(folder_row(tiny_folder), tiny_folder, plan), asked)
    *_, rough = sample(context)
    assert context.runtime.unet.dtype == torch.bfloat16
    assert rough.latents.dtype == torch.float32
    assert (rough.latents - exact.latents).std() < 0.1 * exact.latents.std()


def test_one_generator_for_each_clip_gives_what_it_alone_would_give() -> None:
    both = gaussian((2, 3), [seeded(1), seeded(2)])
    torch.testing.assert_close(both[1:], gaussian((1, 3), seeded(2)))
    with pytest.raises(ValueError, match="2 generators"):
        gaussian((3, 3), [seeded(1), seeded(2)])
