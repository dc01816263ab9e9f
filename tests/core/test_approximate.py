"""Guidance in an interval of noise, and a consistency model's few noisy jumps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.catalog.families.svd import karras
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.denoiser import cfg_interval
from svd_ui.core.sampling.samplers import Step, consistency, down_to_zero, gaussian, seeded
from svd_ui.errors import Cancelled
from svd_ui.request import GenerationRequest
from tests.tiny import save_tiny_svd

from .conftest import CPU_PLAN, prepared, request


def clip(runtime: Runtime, asked: GenerationRequest, resume: Step | None = None) -> list[Step]:
    context = prepared(runtime, asked)
    return list(sample(replace(context, resume=resume)))


@pytest.fixture
def calls(runtime: Runtime) -> Iterator[list[float]]:
    """The noise level told at each call of the U-Net."""
    seen: list[float] = []
    handle = runtime.unet.register_forward_pre_hook(lambda _, args: seen.append(float(args[1])))
    yield seen
    handle.remove()


def test_guidance_runs_the_model_once_outside_its_interval(runtime: Runtime, calls: list[float]) -> None:
    sigmas = runtime.sigmas(6)
    bounds = {"guidance_sigma_min": float(sigmas[4]), "guidance_sigma_max": float(sigmas[1])}
    clip(runtime, request(num_inference_steps=6, **bounds))
    assert len(calls) == 6 + 3  # two where sigma is below the upper bound or on it, and above the lower
    twice = [told for told in calls if calls.count(told) == 2]
    assert twice[::2] == pytest.approx([float(0.25 * sigma.log()) for sigma in sigmas[1:4]], abs=1e-6)


@pytest.mark.parametrize("bounds", [{}, {"guidance_sigma_max": 1000}, {"guidance_sigma_min": 0}])
def test_an_interval_that_leaves_nothing_out_is_the_plain_clip(runtime: Runtime, bounds: dict[str, Any]) -> None:
    plain, within = clip(runtime, request())[-1], clip(runtime, request(**bounds))[-1]
    assert torch.equal(plain.latents, within.latents)


def test_an_interval_that_leaves_all_out_is_the_clip_without_guidance(runtime: Runtime, calls: list[float]) -> None:
    without = clip(runtime, request(max_guidance_scale=1.0))[-1]
    nowhere = clip(runtime, request(guidance_sigma_max=0.0001))[-1]
    assert torch.equal(without.latents, nowhere.latents) and len(calls) == 4 + 4


def test_its_sigmas_scale_with_the_checkpoints_noise(tiny_folder: Path) -> None:
    """At a tenth of SVD's range, a bound of 100 stands for 10."""
    row = folder_row(tiny_folder, sigma_reference=70.0)
    runtime, seen = Runtime(row, tiny_folder, CPU_PLAN), []
    runtime.unet.register_forward_pre_hook(lambda *_: seen.append(1))
    clip(runtime, request(num_inference_steps=8, guidance_sigma_max=100.0))
    assert len(seen) == 8 + int((runtime.sigmas(8)[:-1] <= 10).sum())


def test_the_upper_bound_is_in_the_interval_and_the_lower_is_not() -> None:
    denoise = cfg_interval(lambda x, _: x + 1, lambda x, _: x, 1.0, 2.0)
    asked = [float(denoise(torch.zeros(()), torch.tensor(sigma))) for sigma in (0.5, 1.0, 1.5, 2.0, 2.5)]
    assert asked == [0, 0, 1, 1, 0]


@pytest.fixture(scope="module")
def distilled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("lcm") / "tiny-lcm", svd_ui={"sampler": "consistency"})


@pytest.fixture
def distilled(distilled_folder: Path) -> Runtime:
    return Runtime(folder_row(distilled_folder), distilled_folder, CPU_PLAN)


FEW = {"num_inference_steps": 4, "max_guidance_scale": 1.0}


def test_a_perfect_denoiser_gives_back_its_target() -> None:
    target, generator = torch.randn(1, 2, 4, 3, 3, generator=seeded(1)), seeded(2)
    sigmas = down_to_zero(karras(4, 0.002, 700.0))
    seen: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float((x - target).std() / sigma))
        return target

    start = target + sigmas[0] * gaussian(target.shape, generator)
    *_, last = consistency(denoise, start, sigmas, lambda: gaussian(target.shape, generator))
    assert torch.equal(last.latents, target)
    assert seen == pytest.approx([1.0] * 4, abs=0.4)  # each jump lands at the noise that the next is told


def test_the_same_seed_is_the_same_clip_and_each_step_one_call(distilled: Runtime) -> None:
    seen: list[int] = []
    distilled.unet.register_forward_pre_hook(lambda *_: seen.append(1))
    one, two = clip(distilled, request(**FEW)), clip(distilled, request(**FEW))
    assert torch.equal(one[-1].latents, two[-1].latents) and len(seen) == 8
    assert [step.index for step in one] == [1, 2, 3, 4]
    assert torch.equal(one[-1].latents, one[-1].denoised)  # the last is clean, the others are noised anew
    assert not torch.equal(one[0].latents, one[0].denoised)


@pytest.mark.parametrize("done", [1, 3])
def test_going_on_after_a_step_is_as_if_nothing_had_happened(distilled: Runtime, done: int) -> None:
    whole = clip(distilled, request(**FEW))
    rest = clip(distilled, request(**FEW), resume=whole[done - 1])
    assert len(rest) == 4 - done and torch.equal(rest[-1].latents, whole[-1].latents)


def test_running_out_of_memory_changes_no_noise_that_follows(distilled: Runtime) -> None:
    asked = request(**FEW)
    context = prepared(distilled, asked)
    expected = clip(distilled, asked)[-1].latents
    steps = sample(context)
    before = [next(steps), next(steps)]

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("full")

    handle = distilled.unet.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        next(steps)
    handle.remove()
    *_, last = sample(replace(context, resume=before[1]))
    assert torch.equal(last.latents, expected)


def test_few_steps_can_be_cancelled_within_one(distilled: Runtime) -> None:
    cancel, seen = threading.Event(), []
    asked = request(**FEW)
    context = prepared(distilled, asked)
    distilled.unet.register_forward_pre_hook(lambda *_: seen.append(cancel.set()))
    with pytest.raises(Cancelled):
        list(sample(replace(context, cancel=cancel)))
    assert len(seen) == 1


@pytest.mark.parametrize("values", [{"cache_interval": 2}, {"schedule": "ays", "cache_interval": 3}])
def test_all_approximations_together_make_a_clip(runtime: Runtime, values: dict[str, Any]) -> None:
    asked = request(num_inference_steps=6, guidance_sigma_min=0.1, guidance_sigma_max=200.0, **values)
    cancel, seen = threading.Event(), []
    steps = clip(runtime, asked)
    assert len(steps) == 6 and all(step.latents.isfinite().all() for step in steps)
    context = prepared(runtime, asked)
    runtime.unet.register_forward_pre_hook(lambda *_: seen.append(len(seen) == 3 and cancel.set()))
    with pytest.raises(Cancelled):
        list(sample(replace(context, cancel=cancel)))
    assert len(seen) == 4
