"""Parts cover everything once, and are as large as allowed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from svd_ui.core.exact import ops
from svd_ui.core.exact.ops import OwnedTensors, _compiled_geglu, chunks, geglu_, get_ready, take


@pytest.mark.parametrize(
    ("count", "each", "most", "lengths"),
    [(10, 1, 100, [10]), (10, 30, 100, [3, 3, 3, 1]), (7, 1000, 1, [1] * 7), (25, 4, 50, [9, 9, 7]), (1, 9, 1, [1])],
)
def test_parts(count: int, each: int, most: int, lengths: list[int]) -> None:
    slices = list(chunks(count, each, most))
    assert [len(range(count)[part]) for part in slices] == lengths
    assert [i for part in slices for i in range(count)[part]] == list(range(count))


def test_owned_tensors_are_given_once() -> None:
    tensors = torch.zeros(1), torch.ones(1)
    owned = OwnedTensors(*tensors)
    assert take(owned) == tensors
    assert take(owned) == ()


def test_geglu_is_the_product_in_place() -> None:
    both = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    value, gate = both.chunk(2, dim=-1)
    expected = value * torch.nn.functional.gelu(gate)
    geglu_(value, gate)
    torch.testing.assert_close(both[:, :4], expected)


def test_a_compiler_that_fails_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with triton but without a C compiler makes clips all the same; memory that ran out is another matter."""
    calls: list[Exception] = []

    def failing(error: Exception) -> Any:
        def compiled(value: torch.Tensor, gate: torch.Tensor) -> None:
            calls.append(error)
            raise error

        return lambda *_, **__: compiled

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for error in (RuntimeError("Failed to find C compiler"), torch.OutOfMemoryError("full")):
        _compiled_geglu.cache_clear()
        monkeypatch.setattr(torch, "compile", failing(error))
        run = _compiled_geglu()
        for _ in range(2):
            value, gate = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).chunk(2, dim=-1)
            expected = value * torch.nn.functional.gelu(gate)
            if isinstance(error, torch.OutOfMemoryError):
                with pytest.raises(torch.OutOfMemoryError):
                    run(value, gate)
            else:
                run(value, gate)
                torch.testing.assert_close(value, expected)
    _compiled_geglu.cache_clear()
    assert [type(error) for error in calls] == [RuntimeError, torch.OutOfMemoryError, torch.OutOfMemoryError]


def test_only_cuda_gets_its_kernel_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Size, torch.Size]] = []
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, dtype, device: zeros(*size, dtype=dtype))
    monkeypatch.setattr(ops, "geglu_", lambda value, gate: seen.append((value.shape, gate.shape)))
    for name in ("cpu", "mps", "cuda:1"):
        get_ready(torch.device(name))
    ((value, gate),) = seen
    assert value == gate
    assert len({*value, 2 * value[1]}) == 3, "equal numbers would be compiled in"


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
