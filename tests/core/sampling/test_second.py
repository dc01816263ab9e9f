"""Guidance on two devices is guidance on one: here both are the processor, each with a copy of the U-Net of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core.decode import decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.lora import Lora, use_loras
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import Step
from svd_ui.core.second import Half
from svd_ui.core.wall import sample_batch, whole_wall
from svd_ui.errors import Cancelled
from svd_ui.events import never
from svd_ui.loras import LoraFile
from svd_ui.request import Wall
from svd_ui.steering.choreography import view_of
from tests.core.conftest import CPU_PLAN, clip_of, picture, prepared, request

PAIR = replace(CPU_PLAN, second=torch.device("cpu"))
NEAR = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def alone(tiny_folder: Path) -> Runtime:
    return Runtime(folder_row(tiny_folder), tiny_folder, CPU_PLAN)


@pytest.fixture(scope="module")
def split(tiny_folder: Path) -> Iterator[Runtime]:
    with closing(two(tiny_folder)) as runtime:
        yield runtime


def two(folder: Path, plan: Plan = PAIR) -> Runtime:
    runtime = Runtime(folder_row(folder), folder, plan)
    runtime.second = Half(runtime, folder)
    return runtime


def last(runtime: Runtime, **more: Any) -> Tensor:
    return steps(runtime, **more)[-1].latents


def steps(runtime: Runtime, resume: Step | None = None, **more: Any) -> list[Step]:
    asked, still = request(**{"num_inference_steps": 3, **more}), picture(64, 64)
    context = prepared(runtime, asked, still, resume=resume)
    plan = asked.method.choreography(view_of(context.clip, still, still.size, lambda ref: still))
    decoder = decoder_of(runtime, still, context.clip, still, plan)
    return list(sample(replace(context, decoder=decoder)))


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "features reused": {"cache_interval": 2, "num_inference_steps": 4},
    "guidance in an interval": {"guidance_sigma_min": 0.5, "guidance_sigma_max": 100.0},
    "in parts": {"method": {"kind": "extend", "seconds": 1.0}, "fps": 6},
    "held to a plan": {"method": {"kind": "drag", "arrows": "0.3,0.5>0.6,0.5"}},
    "between two stills": {"method": {"kind": "end_frame", "image": "sha256:" + "e" * 64}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_clip_on_two_devices_is_the_clip_on_one(alone: Runtime, split: Runtime, way: str) -> None:
    calls: list[str] = []
    with counted(split, calls):
        made = last(split, **WAYS[way])
    torch.testing.assert_close(made, last(alone, **WAYS[way]), **NEAR)
    assert "second" in calls


@contextmanager
def counted(runtime: Runtime, calls: list[str], then: Callable[[], object] = lambda: None) -> Iterator[None]:
    """``calls`` gains which of the two U-Nets was asked; ``then`` is called as the second's work begins."""
    assert runtime.second is not None

    def asked_second(*_: Any) -> None:
        calls.append("second")
        then()

    first = runtime.unet.register_forward_pre_hook(lambda *_: calls.append("first"))
    second = runtime.second.unet.register_forward_pre_hook(asked_second)
    try:
        yield
    finally:
        first.remove()
        second.remove()


def test_both_halves_run_at_the_same_time(split: Runtime) -> None:
    met = threading.Barrier(2, timeout=60)  # broken, which raises, unless both are there at once
    hooks = [unet.register_forward_pre_hook(lambda *_: print(met.wait())) for unet in split.unets]
    try:
        last(split, num_inference_steps=2)
    finally:
        for hook in hooks:
            hook.remove()


def test_an_unguided_clip_leaves_the_second_alone(split: Runtime) -> None:
    calls: list[str] = []
    with counted(split, calls):
        last(split, max_guidance_scale=1.0)
    assert set(calls) == {"first"}


def test_tiles_made_together_are_split_too(alone: Runtime, split: Runtime) -> None:
    wall = Wall(seeds=2, motion_bucket_ids=(30, 220))
    made = []
    for runtime in (alone, split):
        clip = clip_of(runtime, wall=wall, num_inference_steps=2)
        batch = whole_wall(runtime, picture(64, 64), clip)
        *_, done = sample_batch(decoder_of(runtime, picture(64, 64)), batch, clip, never())
        made.append(torch.cat(done.latents()))
    torch.testing.assert_close(made[1], made[0], **NEAR)


def test_a_lora_is_in_both_copies_and_leaves_both(alone: Runtime, split: Runtime, tmp_path: Path) -> None:
    target = next(name for name, part in split.unet.named_modules() if name.endswith("attn1.to_q"))
    weight = split.unet.get_submodule(target).weight
    down, up = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
    save_file({f"{target}.lora_A.weight": down, f"{target}.lora_B.weight": up}, tmp_path / "a.safetensors")
    lora = Lora(LoraFile(name="a", path=tmp_path / "a.safetensors", bytes=1), 0.7)
    before = [{name: value.clone() for name, value in unet.state_dict().items()} for unet in split.unets]
    with use_loras(split, [lora]), use_loras(alone, [lora]):
        made, wanted = last(split), last(alone)
    torch.testing.assert_close(made, wanted, **NEAR)
    assert not torch.allclose(made, last(alone), atol=1e-4)
    for unet, bits in zip(split.unets, before, strict=True):
        assert all(torch.equal(value, bits[name]) for name, value in unet.state_dict().items())


def test_it_goes_on_from_any_step_to_the_same_clip_alone_or_not(alone: Runtime, split: Runtime) -> None:
    whole = steps(split)
    for runtime, exactly in ((split, 0.0), (alone, 1e-5)):
        rest = steps(runtime, resume=whole[0])
        torch.testing.assert_close(rest[-1].latents, whole[-1].latents, atol=exactly, rtol=0)


def test_a_cancel_ends_both_halves_before_their_next_call(split: Runtime) -> None:
    cancel, calls = threading.Event(), list[str]()
    with counted(split, calls, cancel.set), pytest.raises(Cancelled):
        list(sample(prepared(split, request(), cancel=cancel)))
    assert sorted(set(calls)) == ["first", "second"] or calls == ["second"]
    assert len(calls) <= 2


def test_what_fails_on_the_second_is_told_apart_and_one_goes_on_alone(alone: Runtime, tiny_folder: Path) -> None:
    with closing(two(tiny_folder)) as runtime:
        full = torch.OutOfMemoryError("CUDA out of memory")

        def fail() -> None:
            raise full

        with counted(runtime, [], fail), pytest.raises(torch.OutOfMemoryError) as caught:
            last(runtime)
        assert runtime.second is not None
        assert runtime.second.failure is caught.value
        runtime.drop_second()
        assert len(runtime.unets) == 1
        torch.testing.assert_close(last(runtime), last(alone), **NEAR)


def test_what_fails_on_the_first_waits_for_the_second(split: Runtime) -> None:
    ended = threading.Event()
    assert split.second is not None
    hooks = [
        split.unet.register_forward_pre_hook(lambda *_: 1 / 0),
        split.second.unet.register_forward_hook(lambda *_: ended.set()),
    ]
    try:
        with pytest.raises(ZeroDivisionError):
            last(split)
        assert ended.is_set()
        assert split.second.failure is None
    finally:
        for hook in hooks:
            hook.remove()


def test_the_copy_comes_from_the_files_and_shares_nothing(split: Runtime) -> None:
    first, second = ({value.data_ptr() for value in unet.state_dict().values()} for unet in split.unets)
    assert not first & second
    with pytest.raises(ValueError, match="one device"):
        split.plan.half().half()


def test_a_smaller_profile_holds_for_both(alone: Runtime, tiny_folder: Path) -> None:
    with closing(two(tiny_folder)) as runtime:
        runtime.use_profile(PROFILES["6gb"])
        assert runtime.second is not None
        assert runtime.second.profile == runtime.profile
        assert runtime.profile.forward_chunking
        few = {"num_inference_steps": 1}
        torch.testing.assert_close(last(runtime, **few), last(alone, **few), **NEAR)


def test_a_wider_number_format_is_taken_by_both_and_streamed_weights_are_not_streamed_twice(tiny_folder: Path) -> None:
    with closing(two(tiny_folder, replace(PAIR, dtype=torch.bfloat16))) as runtime:
        runtime.widen(replace(PAIR, dtype=torch.float32))
        assert {unet.dtype for unet in runtime.unets} == {torch.float32}
        assert runtime.second is not None
        assert runtime.second.plan.dtype == torch.float32
        streaming = replace(PAIR, profile=next(row for row in PROFILES.values() if row.offload == "group"))
        assert not streaming.splits
        runtime.adopt(streaming)
        assert runtime.second is None


def test_the_second_computes_without_gradients_like_the_first(split: Runtime) -> None:
    seen: list[bool] = []
    with counted(split, [], lambda: seen.append(torch.is_grad_enabled())):
        last(split, num_inference_steps=1)
    assert seen == [False]
