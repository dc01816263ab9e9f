"""The attention kernels agree, and none is ever given more than it can take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.core.attention import MAX_BATCH_ENTRIES, AttentionProcessor, choose, sdpa, split_batch
from svd_ui.core.runtime import Runtime
from svd_ui.errors import BadInput

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
    ("setting", "device", "name", "reason"),
    [
        ("auto", CUDA, "sdpa", "until xformers is measured"),
        ("sdpa", CUDA, "sdpa", "chosen"),
        ("xformers", CPU, "sdpa", "needs a CUDA device"),
    ],
)
def test_the_choice_comes_with_its_reason(setting: str, device: torch.device, name: str, reason: str) -> None:
    chosen, why = choose(setting, device)
    assert chosen == name
    assert reason in why


def test_an_unknown_attention_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="auto, sdpa or xformers"):
        choose("flash", CPU)
