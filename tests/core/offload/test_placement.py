"""Memory profiles change where work happens, never what comes out."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from svd_ui.catalog import PROFILES, ProfileRow, folder_row
from svd_ui.core import offload
from svd_ui.core.conditioning import embed, to_pixels
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.offload import Placement, chunked_forward, largest_divisor, on_device
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import Step, seeded
from svd_ui.events import never
from svd_ui.request import GenerationRequest
from tests.core.conftest import CPU_PLAN, picture, prepared, request
from tests.pretended import PretendedDevice

EXACT = 1e-5


def runtime_with(folder: Path, profile: ProfileRow) -> Runtime:
    return Runtime(folder_row(folder), folder, Plan(CPU_PLAN.device, profile, torch.float32, "sdpa"))


def clip(runtime: Runtime, asked: GenerationRequest) -> Tensor:
    context = prepared(runtime, asked)
    *_, last = sample(context)
    return last.latents


@pytest.mark.parametrize("num_frames", [6, 7])  # chunks of 3 and, 7 being prime, 1
@pytest.mark.parametrize("profile", [PROFILES[name] for name in ("12gb", "8gb", "6gb", "4gb")], ids=lambda row: row.id)
def test_every_profile_gives_the_same_latents(tiny_folder: Path, profile: ProfileRow, num_frames: int) -> None:
    asked = request(num_frames=num_frames, num_inference_steps=2)
    expected = clip(runtime_with(tiny_folder, PROFILES["24gb"]), asked)
    got = clip(runtime_with(tiny_folder, profile), asked)
    torch.testing.assert_close(got, expected, atol=EXACT * expected.abs().max().item(), rtol=0)


def test_memory_that_runs_out_between_steps_costs_only_the_step(tiny_folder: Path) -> None:
    """What the engine does: catch, step down, go on from the last step with the same arguments."""
    asked = request()
    expected = clip(runtime_with(tiny_folder, PROFILES["24gb"]), asked)
    runtime = runtime_with(tiny_folder, PROFILES["24gb"])
    context = prepared(runtime, asked)
    failures = iter([0, 2])  # U-Net calls that fail: the very first, then one in the middle
    failing, calls, last = next(failures), 0, None

    def run_out(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls - 1 == failing:
            raise torch.OutOfMemoryError

    handle = runtime.unet.register_forward_pre_hook(run_out)
    seen: list[int] = []
    for profile in ("8gb", "6gb", None):
        try:
            for step in sample(replace(context, resume=last)):
                last = step
                seen.append(step.index)
            break
        except torch.OutOfMemoryError:
            assert profile is not None
            runtime.use_profile(PROFILES[profile])
            failing, calls = next(failures, -1), 0
    handle.remove()
    assert seen == [1, 2, 3, 4]
    assert isinstance(last, Step)
    assert runtime.profile.forward_chunking
    torch.testing.assert_close(last.latents, expected, atol=EXACT * expected.abs().max().item(), rtol=0)


def test_decoding_goes_on_where_it_stopped(runtime: Runtime) -> None:
    latents = torch.randn(1, 5, 4, 8, 8, generator=seeded(0))
    whole = list(decode(decoder_of(runtime, picture(64, 64)), latents, 1, never()))
    rest = list(decode(decoder_of(runtime, picture(64, 64)), latents, 1, never(), start=3))
    assert [frames.shape for frames in whole] == [(1, 64, 64, 3)] * 5
    assert all((a == b).all() for a, b in zip(whole[3:], rest, strict=True))


def test_leaving_the_device_gives_the_very_tensors_back_even_after_a_failure() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = [(tensor.data_ptr(), tensor.dtype) for tensor in module.state_dict().values()]

    def fail_inside() -> None:
        with on_device(module, CPU_PLAN.device, torch.float64):
            assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float64, torch.int64}
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert [(tensor.data_ptr(), tensor.dtype) for tensor in module.state_dict().values()] == before


def test_group_offload_streams_the_unet_but_not_the_autoencoder(tiny_folder: Path) -> None:
    runtime = runtime_with(tiny_folder, PROFILES["4gb"])
    with runtime.use("unet"), runtime.use("vae"):
        assert any(module._forward_pre_hooks for module in runtime.unet.modules())
        assert not any(module._forward_pre_hooks for module in runtime.vae.modules())
    assert not any(module._forward_pre_hooks for module in runtime.unet.modules())


def test_leaving_group_offload_leaves_nothing_behind(tiny_folder: Path) -> None:
    runtime = runtime_with(tiny_folder, PROFILES["4gb"])
    before = embed(runtime, to_pixels([picture(64, 64)])).detach()
    runtime.use_profile(PROFILES["cpu"])
    with runtime.use("image_encoder") as encoder:
        assert not any(module._forward_pre_hooks for module in encoder.modules())
    torch.testing.assert_close(embed(runtime, to_pixels([picture(64, 64)])).detach(), before)


def test_an_outer_use_saves_the_copies_of_the_inner_ones() -> None:
    """A decode in chunks brings the autoencoder to the device once."""
    modules = {"vae": nn.Linear(2, 2)}
    placement = Placement(modules, CPU_PLAN.device, PROFILES["8gb"])
    master = modules["vae"].weight.data_ptr()
    with placement.use("vae", torch.float64) as vae:
        outside = vae.weight.data_ptr()
        with placement.use("vae"):
            assert vae.weight.data_ptr() == outside
        with placement.use("vae", torch.float32):
            assert vae.weight.dtype == torch.float32
        assert vae.weight.data_ptr() == outside != master
    assert vae.weight.data_ptr() == master


def test_parts_that_never_run_stay_behind() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    placement = Placement({"unet": net}, CPU_PLAN.device, PROFILES["8gb"], {"unet": [net[1]]})
    with placement.use("unet", torch.float64):
        assert (net[0].weight.dtype, net[1].weight.dtype) == (torch.float64, torch.float32)


def test_a_profile_with_the_same_offload_moves_nothing(tiny_folder: Path) -> None:
    """``auto`` may mean another profile for the next clip; weights that may stay, stay."""
    runtime = runtime_with(tiny_folder, PROFILES["24gb"])
    placement = runtime._placement
    runtime.adopt(replace(runtime.plan, profile=PROFILES["12gb"]))
    assert runtime._placement is placement
    assert runtime.profile.guidance_in_turn
    runtime.adopt(replace(runtime.plan, profile=PROFILES["8gb"]))
    assert runtime._placement is not placement


def test_modules_of_an_offloading_placement_are_on_the_device_only_while_used() -> None:
    """Another number format stands in for another device, which this machine may not have."""
    modules = {"vae": nn.Linear(2, 2), "unet": nn.Linear(2, 2)}
    placement = Placement(modules, CPU_PLAN.device, PROFILES["8gb"])
    with placement.use("vae", torch.float64) as vae:
        assert vae.weight.dtype == torch.float64
        assert modules["unet"].weight.dtype == torch.float32
    assert modules["vae"].weight.dtype == torch.float32


def test_chunks_divide_the_frames_and_are_taken_away_again(runtime: Runtime) -> None:
    assert [largest_divisor(n, 5) for n in (14, 25, 13, 4, 21)] == [2, 5, 1, 4, 3]
    blocks = [block for block in runtime.unet.modules() if hasattr(block, "_chunk_size")]
    with chunked_forward(runtime.unet, 14, enabled=True):
        assert {block._chunk_size for block in blocks} == {2}
    assert {block._chunk_size for block in blocks} == {None}


def test_guidance_in_turn_calls_with_half_the_batch(tiny_folder: Path) -> None:
    for name, batches in (("24gb", [2]), ("8gb", [1, 1])):
        runtime = runtime_with(tiny_folder, PROFILES[name])
        seen: list[int] = []
        runtime.unet.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
        clip(runtime, request(num_inference_steps=1))
        assert seen == batches


@pytest.mark.parametrize(
    "ladder", [("24gb", "8gb", "4gb"), ("4gb", "8gb", "4gb"), ("8gb", "4gb", "24gb")], ids="-".join
)
def test_stepping_down_locks_no_page_twice(tiny_folder: Path, ladder: tuple[str, ...]) -> None:
    """On a machine that holds the weights once and not twice; those that leave give their pages back."""
    with PretendedDevice("cuda:0") as gpu:
        plan = Plan(torch.device("cuda:0"), PROFILES[ladder[0]], torch.float32, "sdpa")
        runtime = Runtime(folder_row(tiny_folder), tiny_folder, plan)
        weights = {name: tensor.cpu().clone() for name, tensor in runtime.unet.state_dict().items()}
        held = {ladder[0]: gpu.pinned}
        for profile in ladder[1:]:
            gpu.most_pinned = gpu.pinned
            runtime.use_profile(PROFILES[profile])
            assert gpu.most_pinned == max(held.get("8gb", 0), held.get("4gb", 0), gpu.pinned)
            held[profile] = gpu.pinned
        assert held["8gb"] > 0
        assert held.get("24gb", 0) == 0
        assert held["4gb"] <= held["8gb"] * 1.05
        now = runtime.unet.state_dict()
        assert all(torch.equal(tensor.cpu(), weights[name]) for name, tensor in now.items())
        list(sample(prepared(runtime, request(num_inference_steps=1))))
        runtime.close()


def test_another_number_format_leaves_no_pages_of_the_old_one(tiny_folder: Path) -> None:
    with PretendedDevice("cuda:0") as gpu:
        plan = Plan(torch.device("cuda:0"), PROFILES["4gb"], torch.float16, "sdpa")
        runtime = Runtime(folder_row(tiny_folder), tiny_folder, plan)
        before = gpu.pinned
        runtime.widen(replace(plan, dtype=torch.float32))
        assert gpu.pinned <= 2 * before
        runtime.close()


def test_freed_pages_go_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library keeps many; nothing is done where it is another one."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        code = (
            "import psutil, torch\n"
            "from svd_ui.core import offload\n"
            "pieces = [bytes([1]) * 30_000 for _ in range(12_000)]\n"  # 360 MB, each too small to be mapped by itself
            "keeper = pieces[-1]\n"
            "del pieces\n"
            "rss = psutil.Process().memory_info\n"
            "before = rss().rss\n"
            "offload.give_back_pages()\n"
            "print(before - rss().rss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) > 300_000_000

    class Other:
        def __init__(self, *_: object) -> None:
            raise OSError("no such file")

    monkeypatch.setattr(offload.ctypes, "CDLL", Other)
    offload.give_back_pages()
