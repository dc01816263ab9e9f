"""The sampler's algebra, cancelling, and checkpoints that diffuse the difference from the still."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from svd_ui.catalog import folder_row
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import euler, gaussian, seeded
from svd_ui.errors import Cancelled
from tests.core.conftest import CPU_PLAN, picture, prepared, request

SCALE = 0.6


@pytest.fixture
def residual_runtime(tiny_folder: Path) -> Runtime:
    row = folder_row(tiny_folder, form="residual", residual_scale=SCALE)
    return Runtime(row, tiny_folder, CPU_PLAN)


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


def test_what_only_moves_keeps_the_still_in_every_other_channel(tiny_folder: Path) -> None:
    asked = request()
    row = folder_row(tiny_folder, form="residual", residual_scale=SCALE, motion_gain=8.0)
    context = prepared(Runtime(row, tiny_folder, CPU_PLAN), asked)
    *_, last = sample(context)
    torch.testing.assert_close(last.latents[:, :, :-2], context.still[:, :, :-2])
    assert (last.latents[:, :, -2:] - context.still[:, :, -2:]).abs().max() > 1e-3


def test_a_residual_checkpoint_is_the_plain_one_on_differences(runtime: Runtime, residual_runtime: Runtime) -> None:
    """Sampling the difference in its own units with the plain loop, then adding the still, gives the same clip."""
    asked = request(max_guidance_scale=1.0)
    outer = replace(prepared(residual_runtime, asked), generator=seeded(9))
    x, sigmas = outer.start(), outer.sigmas()
    plain = replace(outer, runtime=runtime).conditional()
    with torch.no_grad():
        *_, difference = euler(plain, (x - outer.still) / SCALE, sigmas / SCALE)
    *_, whole = sample(replace(outer, generator=seeded(9)))
    expected = outer.still + SCALE * difference.latents
    torch.testing.assert_close(whole.latents, expected, atol=1e-3, rtol=0)


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
