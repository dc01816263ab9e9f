"""What is decided before loading, and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from svd_ui.catalog import PROFILES, cuda_builds
from svd_ui.core.autotune import BenchmarkStore
from svd_ui.core.devices import (
    DeviceInfo,
    Plan,
    available,
    build_mismatch,
    describe,
    plan_for,
    probe,
    select_devices,
    temporal_conv2d_for,
    temporal_key,
)
from svd_ui.engine.stages import Stages
from svd_ui.errors import BadInput
from svd_ui.notes import Note, sentence
from svd_ui.settings import Settings

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_comes_last() -> None:
    assert available()[-1] == "cpu"
    total, free = describe("cpu").memory()
    assert total is not None
    assert free is not None
    assert 0 < free <= total


def test_on_a_cpu_the_plan_is_the_cpu_profile_with_reasons() -> None:
    plan = plan_for(Settings(devices="cpu"))
    assert plan.device == torch.device("cpu")
    assert plan.profile.id == "cpu"
    assert plan.attention == "sdpa"
    assert [sentence(note) for note in plan.notes][:1] == ["profile cpu: no GPU in use"]
    assert plan.module_dtype("vae") == torch.float32


def test_the_request_wins_over_the_setting() -> None:
    settings = Settings(devices="cpu", profile="6gb")
    assert plan_for(settings).profile.id == "6gb"
    assert plan_for(settings, "12gb").profile.id == "12gb"
    assert plan_for(settings, "cpu").profile.id == "cpu"


def test_weights_are_not_moved_out_of_memory_that_is_shared() -> None:
    plan = plan_for(Settings(devices="cpu"), "8gb")
    assert plan.profile.offload == "none"
    assert plan.profile.guidance_in_turn
    assert any("stay in place" in sentence(note) for note in plan.notes)


@pytest.mark.parametrize("settings", [Settings(devices="cuda:99"), Settings(profile="2gb"), Settings(attention="fast")])
def test_wrong_settings_are_named(settings: Settings) -> None:
    with pytest.raises(BadInput):
        plan_for(settings)


def test_devices_are_used_in_the_order_asked() -> None:
    assert select_devices(Settings(devices="cpu+cpu")) == ["cpu+cpu"]
    assert select_devices(Settings(devices="cpu, cpu")) == ["cpu"]


def test_a_pair_is_one_plan_of_two_devices_that_share_the_cores() -> None:
    alone, pair = plan_for(Settings(devices="cpu")), plan_for(Settings(devices="cpu+cpu"))
    assert (alone.second, alone.place, alone.splits) == (None, "cpu", False)
    assert (pair.device, pair.second, pair.place, pair.splits) == (CPU, CPU, "cpu+cpu", True)
    assert (pair.half().device, pair.half().second) == (CPU, None)
    assert pair.profile == alone.profile  # chosen for one, so that it can go on alone
    with pytest.raises(BadInput, match="'cuda:1'"):
        plan_for(Settings(devices="cuda:1"), device="cuda:1")


def test_a_device_is_tried_by_computing_on_it() -> None:
    probe(CPU, CPU)
    with pytest.raises((RuntimeError, AssertionError)):
        probe(torch.device("cuda:7"))


def test_auto_means_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    _Card(monkeypatch, "NVIDIA GeForce RTX 3060", (8, 6))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert select_devices(Settings(devices="auto")) == ["cuda:0", "cuda:1", "cuda:2"]
    assert Stages(Settings(devices="auto")).others() == ("cuda:1", "cuda:2")
    assert Stages(Settings(devices="cuda:0"), "cuda:0").others() == ()


def test_stepping_down_says_so() -> None:
    reasons = {"profile": Note.of("chosen"), "dtype": Note.of("float16_on_gpu")}
    plan = Plan(torch.device("cuda:0"), PROFILES["12gb"], torch.float16, "sdpa", reasons)
    down = plan.step_down(PROFILES["8gb"])
    assert down.profile.offload == "model"
    assert [sentence(note) for note in down.notes] == ["profile 8gb: out of memory", "float16 on a GPU"]


@pytest.mark.parametrize(("kind", "conv2d"), [("cpu", True), ("cuda", False)])
def test_before_anything_was_measured_only_a_processor_does_without_conv3d(
    kind: Any, conv2d: bool, raced: None
) -> None:
    info = DeviceInfo(torch.device("cpu"), kind, "a device", measured=False)
    assert temporal_conv2d_for(info, torch.float32, BenchmarkStore()) == (conv2d, None)


@pytest.mark.parametrize(
    ("kind", "cudnn", "dtype", "conv2d"),
    [
        ("cuda", 91002, torch.float16, True),
        ("cuda", 91002, torch.float32, False),
        ("cuda", 91500, torch.float16, False),
        ("cuda", None, torch.float16, False),
        ("rocm", 91002, torch.float16, False),
        ("mps", None, torch.float32, True),
    ],
)
def test_where_torch_passes_cudnn_by_there_is_no_conv3d(
    kind: Any, cudnn: int | None, dtype: torch.dtype, conv2d: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was measured: a clip's features three times over are what a card has no memory for."""
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    info, store = DeviceInfo(torch.device("cuda:0"), kind, "a card", measured=False), BenchmarkStore()
    store.put(temporal_key("a card", dtype), {"conv3d": 1.0, "conv2d": 2.0})
    chosen, why = temporal_conv2d_for(info, dtype, store)
    assert chosen == conv2d
    assert bool(why) == conv2d
    if not conv2d:
        store.put(temporal_key("a card", dtype), {"conv3d": 2.0, "conv2d": 1.0})
        assert temporal_conv2d_for(info, dtype, store) == (True, None)


class _Card:
    """CUDA's answers for one card, on the seam through which torch is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])


def test_a_card_that_torch_has_no_code_for_is_left_alone_and_the_plan_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its every clip would fail; the CPU makes one."""
    _Card(monkeypatch, "NVIDIA GeForce GTX 1080", (6, 1))
    card = cuda_builds.Card("NVIDIA GeForce GTX 1080", (6, 1), 580)
    monkeypatch.setattr(cuda_builds, "installed_cards", lambda: [card])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    build_mismatch.cache_clear()
    try:
        assert available() == ["cpu"]
        plan = plan_for(Settings(devices="auto"))
        assert plan.device.type == "cpu"
        assert "GTX 1080" in sentence(plan.reasons["device"])
        with pytest.raises(BadInput, match="does not support its compute capability 6.1.*cu126"):
            select_devices(Settings(devices="cuda:0"))
    finally:
        build_mismatch.cache_clear()


def test_a_card_that_torch_has_code_for_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    _Card(monkeypatch, "NVIDIA GeForce RTX 3060", (8, 6))
    assert select_devices(Settings(devices="auto")) == ["cuda:0"]
