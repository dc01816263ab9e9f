"""The counter counts what it says, on operations whose figures are plain."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.counter import Counter

META = torch.device("meta")


def half(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.float16, device=META)


def test_a_matrix_product_is_two_operations_for_each_pair() -> None:
    a, b = half(10, 20), half(20, 30)
    with Counter() as counter:
        _ = a @ b
    assert counter.flops == 2 * 10 * 20 * 30
    assert counter.bytes == 2 * (10 * 20 + 20 * 30 + 10 * 30)


def test_views_and_allocations_move_nothing_and_broadcasts_are_read_once() -> None:
    a = half(8, 8)
    with Counter() as counter:
        a.view(64).transpose(0, 0).unflatten(0, (8, 8))[2:4].chunk(2)
        half(9, 9)
        assert counter.bytes == 0
        _ = a + half(1, 8).expand(8, 8)
    assert counter.bytes == 2 * (64 + 8 + 64)


def test_what_works_in_place_is_read_and_written_and_needs_no_room() -> None:
    a = half(100)
    with Counter() as counter:
        a.mul_(half(100))
    assert counter.bytes == 2 * 300
    assert counter.peak == 2 * 100  # the factor; ``a`` was there before


def test_the_peak_is_what_lived_at_once() -> None:
    with Counter() as counter:
        a = half(1000)
        b = a + 1
        del a
        c = b + 1
        del b
    assert counter.peak == 2 * 2000
    assert counter.live == 2000
    del c


def test_attention_is_fused_and_holds_no_scores() -> None:
    query, key, value = half(2, 4, 1000, 8), half(2, 4, 500, 8), half(2, 4, 500, 8)
    with Counter() as counter:
        out = nn.functional.scaled_dot_product_attention(query, key, value)
    assert out.shape == query.shape
    assert counter.flops == 2 * 4 * 1000 * 500 * (8 + 8) * 2
    assert counter.bytes == 2 * 8 * 4 * 2 * (1000 + 500 + 500 + 1000)
    assert counter.peak < 4 * 1000 * 500


def test_weights_are_no_activations() -> None:
    layer = nn.Linear(100, 100, bias=False, device=META, dtype=torch.float16)
    with torch.no_grad(), Counter().know(layer) as counter:
        layer(half(1, 100))
    assert counter.peak == 2 * 200
    assert counter.bytes == 2 * (100 * 100 + 200)
