"""Reused features: what really runs, what is kept, how far the clip strays, and that nothing is left behind."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import NANO, PROFILES, folder_row, nano_row
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling import feature_cache
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.feature_cache import CachedUNet, FeatureCache
from svd_ui.core.sampling.samplers import seeded
from svd_ui.request import GenerationRequest
from tests.core.conftest import CPU_PLAN, prepared, request


def clip(runtime: Runtime, asked: GenerationRequest, stop_after: int | None = None) -> list[Any]:
    context = prepared(runtime, asked)
    steps = sample(context)
    return list(steps) if stop_after is None else [next(steps) for _ in range(stop_after)]


@pytest.fixture
def ran(runtime: Runtime) -> Counter[str]:
    """How often each named part of the U-Net has run."""
    unet, counts = runtime.unet, Counter[str]()
    parts = {
        "conv_in": unet.conv_in,
        "conv_out": unet.conv_out,
        "embedding": unet.time_embedding,
        "first down layer": unet.down_blocks[0].resnets[0],
        "inner down layer": unet.down_blocks[1].resnets[0],
        "middle": unet.mid_block.attentions[0],
        "inner up layer": unet.up_blocks[0].resnets[0],
        "layer before the last": unet.up_blocks[-1].attentions[-2],
        "last layer": unet.up_blocks[-1].resnets[-1],
        "last attention": unet.up_blocks[-1].attentions[-1],
    }
    for name, part in parts.items():
        part.register_forward_pre_hook(lambda *_, name=name: counts.update([name]))
    return counts


OUTER = {"conv_in", "conv_out", "embedding", "last layer", "last attention"}


@pytest.mark.parametrize("in_turn", [True, False])
def test_most_layers_really_rest(runtime: Runtime, ran: Counter[str], in_turn: bool) -> None:
    runtime.use_profile(PROFILES["cpu"].model_copy(update={"guidance_in_turn": in_turn}))
    clip(runtime, request(num_inference_steps=7, cache_interval=3))  # whole at 0, 3, 6
    calls = 2 if in_turn else 1
    assert all(ran[name] == 7 * calls for name in OUTER)
    assert all(count == 3 * calls for name, count in ran.items() if name not in OUTER)
    assert len(ran) == 10


def test_an_interval_of_one_is_the_plain_clip_to_the_bit(runtime: Runtime) -> None:
    plain, one = (clip(runtime, request(cache_interval=interval))[-1].latents for interval in (None, 1))
    assert torch.equal(plain, one)


def test_whole_steps_are_untouched_and_skipped_ones_are_not(runtime: Runtime) -> None:
    exact, reusing = clip(runtime, request()), clip(runtime, request(cache_interval=2))
    assert torch.equal(exact[0].latents, reusing[0].latents)
    assert not torch.equal(exact[1].latents, reusing[1].latents)


@pytest.mark.parametrize("exact", [True, False])
def test_what_was_kept_gives_the_same_step_again(tiny_folder: Path, exact: bool) -> None:
    """Nothing is lost at the border between the layers that rest and those that run."""
    runtime = Runtime(folder_row(tiny_folder), tiny_folder, replace(CPU_PLAN, exact=exact))
    reuse = FeatureCache(2)
    unet = CachedUNet(runtime.unet, reuse)
    told = (torch.randn(1, 4, 8, 8, 8, generator=seeded(1)), torch.tensor(0.3), torch.ones(1, 1, 32), torch.ones(1, 3))
    with torch.no_grad():
        (whole,), (again,) = unet(*told, return_dict=False), unet(*told, return_dict=False)
        torch.testing.assert_close(runtime.unet(*told, return_dict=False)[0], whole, atol=0, rtol=0)
    torch.testing.assert_close(again, whole, atol=1e-6, rtol=0)


def test_one_tensor_is_kept_for_each_conditioning_and_none_after_the_clip(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[Tensor]] = []
    sizes: list[list[int]] = []

    class Watched(FeatureCache):
        def count_steps(self, denoiser: Any) -> Any:
            paced = super().count_steps(denoiser)

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                out = paced(x, sigma)
                sizes.append([tensor.numel() for tensor in self.features.values()])
                kept.extend(map(weakref.ref, self.features.values()))
                return out

            return denoise

    monkeypatch.setattr("svd_ui.core.sampling.context.FeatureCache", Watched)
    before = forwards(runtime)
    clip(runtime, request(cache_interval=3))
    assert sizes == [[4 * 32 * 8 * 8] * 2] * 4  # frames x first width x latent cells, for both
    gc.collect()
    assert not [ref for ref in kept if ref() is not None]
    assert forwards(runtime) == before


def forwards(runtime: Runtime) -> list[Any]:
    """Everything that is put on a module to change what it does."""
    return [
        (name, "forward" in vars(module), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in runtime.unet.named_modules()
    ]


def test_a_failure_in_a_skipped_step_leaves_the_model_as_it_was(runtime: Runtime) -> None:
    before = forwards(runtime)
    last = runtime.unet.up_blocks[-1].resnets[-1]

    def fail(*_: Any) -> None:
        if "forward" in vars(runtime.unet.mid_block):  # which rests: a skipped step
            raise torch.OutOfMemoryError("full")

    handle = last.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        clip(runtime, request(cache_interval=2))
    handle.remove()
    assert forwards(runtime) == before


def test_after_running_out_of_memory_the_first_step_is_whole(runtime: Runtime, ran: Counter[str]) -> None:
    asked = request(num_inference_steps=6, cache_interval=3, max_guidance_scale=1.0)
    context = prepared(runtime, asked)
    steps = list(sample(context))
    ran.clear()
    rest = list(sample(replace(context, resume=steps[1])))
    assert [step.index for step in rest] == [3, 4, 5, 6]
    assert (ran["conv_in"], ran["middle"]) == (4, 2)  # the one after resuming, and the one whose turn it is
    assert (rest[-1].latents - steps[-1].latents).abs().mean() < 0.1 * steps[-1].latents.std()


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_guidance_interval_never_meets_stale_features(runtime: Runtime, ran: Counter[str], in_turn: bool) -> None:
    """Guided at steps 1 and 2 of 0..5, whole at 0 and 3: the unconditional half starts whole in between."""
    runtime.use_profile(PROFILES["cpu"].model_copy(update={"guidance_in_turn": in_turn}))
    sigmas = runtime.sigmas(6)
    low, high = float(sigmas[3]), float(sigmas[1])
    clip(runtime, request(num_inference_steps=6, cache_interval=3, guidance_sigma_min=low, guidance_sigma_max=high))
    if in_turn:
        assert (ran["conv_in"], ran["middle"]) == (6 + 2, 2 + 1)
    else:  # both in one batch at step 1, which is another slot; the conditional one goes on whole at 3
        assert (ran["conv_in"], ran["middle"]) == (6, 3)


@pytest.fixture(scope="module")
def nano() -> Runtime:
    return Runtime(nano_row(), NANO, CPU_PLAN)


def nano_clip(nano: Runtime, interval: int, steps: int = 6) -> Tensor:
    asked = request(
        num_frames=6, width=256, height=128, num_inference_steps=steps, cache_interval=interval, max_guidance_scale=1.0
    )
    context = prepared(nano, asked)
    *_, last = sample(context)
    return last.latents - context.still


def test_on_a_trained_model_the_error_is_small_and_grows_with_the_interval(
    nano: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = nano_clip(nano, 1)
    errors = [float((nano_clip(nano, interval) - exact).abs().mean()) for interval in (2, 3, 5)]
    size = float(exact.abs().mean())
    assert 0 < errors[0] <= errors[1] <= errors[2] < 0.3 * size
    assert errors[1] < 0.12 * size
    monkeypatch.setattr(feature_cache, "LAST_SIGMA", 1000.0)  # the last step no longer whole: why it is
    assert float((nano_clip(nano, 2) - exact).abs().mean()) > 2 * errors[0]
