"""Parts cover everything once, and are as large as allowed."""

from __future__ import annotations

import pytest
import torch

from svd_ui.core.exact.parts import Handed, parts, taken
from svd_ui.core.exact.pointwise import _compiled_geglu, geglu_


@pytest.mark.parametrize(
    ("count", "each", "most", "lengths"),
    [(10, 1, 100, [10]), (10, 30, 100, [3, 3, 3, 1]), (7, 1000, 1, [1] * 7), (25, 4, 50, [9, 9, 7]), (1, 9, 1, [1])],
)
def test_parts(count: int, each: int, most: int, lengths: list[int]) -> None:
    slices = list(parts(count, each, most))
    assert [len(range(count)[part]) for part in slices] == lengths
    assert [i for part in slices for i in range(count)[part]] == list(range(count))


def test_a_hand_gives_once() -> None:
    tensors = torch.zeros(1), torch.ones(1)
    hand = Handed(*tensors)
    assert taken(hand) == tensors
    assert taken(hand) == ()


def test_geglu_is_the_product_in_place() -> None:
    both = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    value, gate = both.chunk(2, dim=-1)
    expected = value * torch.nn.functional.gelu(gate)
    geglu_(value, gate)
    torch.testing.assert_close(both[:, :4], expected)


@pytest.mark.slow
def test_geglu_in_one_kernel_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CUDA runs through triton, here through the compiler's C++."""
    _compiled_geglu.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    both = torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    value, gate = both.chunk(2, dim=-1)
    expected = value * torch.nn.functional.gelu(gate)
    _compiled_geglu()(value, gate)
    _compiled_geglu.cache_clear()
    torch.testing.assert_close(both[:, :32], expected)
