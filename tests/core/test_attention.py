"""The attention kernels agree, and none is ever given more than it can take."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.core.attention import (
    MAX_BATCH_ENTRIES,
    Attend,
    AttentionProcessor,
    KernelTable,
    attend_with,
    available,
    choose,
    install,
    kernel_table,
    sdpa,
    split_batch,
)
from svd_ui.core.runtime import Runtime
from svd_ui.errors import BadInput
from svd_ui.notes import sentence

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


class FakeKernel:
    """``memory_efficient_attention`` of xformers: fails above the limit, as some of its kernels do."""

    def __init__(self, limit: int) -> None:
        self.limit, self.entries = limit, []  # type: tuple[int, list[int]]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        entries = query.shape[0] * query.shape[2]
        if entries > self.limit:
            raise RuntimeError("CUDA error: invalid configuration argument")
        self.entries.append(entries)
        return sdpa(query, key, value)


def qkv(batch: int, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(batch, 3, heads, 2, generator=generator) for _ in range(3))
    return query, key, value


@pytest.mark.parametrize("batch", [1, 9, 10, 11, 25])
def test_a_batch_above_the_limit_is_split_and_comes_out_the_same(batch: int) -> None:
    kernel = FakeKernel(limit=50)
    tensors = qkv(batch, heads=5)
    torch.testing.assert_close(split_batch(kernel, 50)(*tensors), sdpa(*tensors))
    assert sum(kernel.entries) == batch * 5
    assert max(kernel.entries) <= 50


def test_temporal_attention_at_full_size_stays_under_the_limit() -> None:
    kernel = FakeKernel(MAX_BATCH_ENTRIES)
    query = torch.zeros(1, 1, 1, 1).expand(9216 * 2, 25, 5, 1)[:, :1]
    split_batch(kernel)(query, query, query)
    assert sum(kernel.entries) == 92_160
    assert len(kernel.entries) == 2


def test_the_processor_gives_what_diffusers_own_gives(runtime: Runtime) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    arguments: dict[str, Any] = {
        "sample": torch.randn(2, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0)),
        "timestep": torch.tensor(0.3),
        "encoder_hidden_states": torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(1)),
        "added_time_ids": torch.tensor([[6.0, 127.0, 0.02]] * 2),
    }
    results = []
    for processor in (AttnProcessor2_0(), AttentionProcessor(sdpa), AttentionProcessor(split_batch(sdpa, 8))):
        runtime.unet.set_attn_processor(processor)
        with torch.no_grad():
            results.append(runtime.unet(**arguments).sample)
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(results[2], results[0], atol=1e-5, rtol=0)


def test_attention_to_one_key_needs_no_kernel(runtime: Runtime) -> None:
    cross = next(block for block in runtime.unet.modules() if hasattr(block, "attn2")).attn2

    def never_called(*_: Tensor) -> Tensor:
        raise AssertionError

    tokens, context = torch.randn(2, 5, cross.to_q.in_features), torch.randn(2, 1, cross.to_k.in_features)
    expected = AttentionProcessor(sdpa)(cross, tokens, torch.cat([context, context], dim=1))
    torch.testing.assert_close(AttentionProcessor(never_called)(cross, tokens, context), expected)


@pytest.mark.parametrize(
    ("setting", "device", "installed", "name", "reason"),
    [
        ("auto", CPU, {"xformers", "flash_attn"}, "sdpa", "the others need a CUDA device"),
        ("auto", CUDA, set(), "sdpa", "xformers is not installed; flash-attn is not installed"),
        ("auto", CUDA, {"xformers"}, "auto", "the fastest of sdpa, xformers for each shape"),
        ("auto", CUDA, {"xformers", "flash_attn"}, "auto", "sdpa, xformers, flash"),
        ("sdpa", CUDA, {"xformers"}, "sdpa", "your choice"),
        ("xformers", CPU, {"xformers"}, "sdpa", "needs a CUDA device"),
        ("xformers", CUDA, {"xformers"}, "xformers", "your choice"),
        ("flash", CUDA, {"xformers"}, "sdpa", "flash-attn is not installed"),
        ("flash", CUDA, {"flash_attn"}, "flash", "your choice"),
    ],
)
def test_the_choice_comes_with_its_reason(
    setting: str,
    device: torch.device,
    installed: set[str],
    name: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: module if module in installed else None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    chosen, why = choose(setting, device)
    assert chosen == name
    assert reason in sentence(why)


def test_flash_attention_wants_an_ampere_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: module)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert available(CUDA)[0] == ["sdpa", "xformers"]
    assert "Ampere" in sentence(choose("flash", CUDA)[1])


def test_an_unknown_attention_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="auto, sdpa, xformers, flash"):
        choose("fast", CPU)


@pytest.mark.parametrize(("kernel", "module"), [("xformers", "xformers.ops"), ("flash", "flash_attn")])
def test_kernels_are_called_as_their_packages_want_and_guarded(
    kernel: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeKernel(MAX_BATCH_ENTRIES)
    package = types.SimpleNamespace(memory_efficient_attention=fake, flash_attn_func=fake)
    monkeypatch.setitem(sys.modules, module.split(".")[0], package)
    monkeypatch.setitem(sys.modules, module, package)
    tensors = qkv(7, heads=5)
    torch.testing.assert_close(attend_with(kernel)(*tensors), sdpa(*tensors))
    assert fake.entries == [35]


def test_a_package_that_does_not_load_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", types.SimpleNamespace())
    with pytest.raises(BadInput, match="flash-attn is installed but does not load"):
        attend_with("flash")


@pytest.mark.parametrize(("times_heads", "parts"), [(True, 4), (False, 2)])
def test_the_limit_counts_what_the_kernel_puts_on_the_grid(times_heads: bool, parts: int) -> None:
    tensors, sizes = qkv(100, heads=2), []

    def kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        sizes.append(len(query))
        return sdpa(query, key, value)

    torch.testing.assert_close(split_batch(kernel, 50, times_heads=times_heads)(*tensors), sdpa(*tensors))
    assert len(sizes) == parts


def test_with_auto_all_layers_share_one_table(runtime: Runtime) -> None:
    install(runtime.unet, "auto")
    table = kernel_table(runtime.unet)
    assert table is not None
    assert {id(processor.attend) for processor in runtime.unet.attn_processors.values()} == {id(table)}
    install(runtime.unet, "sdpa")
    assert kernel_table(runtime.unet) is None


def test_each_shape_has_its_kernel_and_others_sdpa() -> None:
    called: list[str] = []

    def named(name: str) -> Attend:
        return lambda query, key, value: called.append(name) or sdpa(query, key, value)  # type: ignore[func-returns-value]

    table = KernelTable({(3, 2): named("spatial"), (4, 2): named("temporal")}, named("default"))
    for tokens in (3, 4, 5):
        table(*(torch.ones(1, tokens, 1, 2) for _ in range(3)))
    assert called == ["spatial", "temporal", "default"]
