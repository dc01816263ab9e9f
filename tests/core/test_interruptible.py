"""Calls that take long stop within them, and say the same in pieces."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core import interruptible as module
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.interruptible import _Interruptible, interruptible, interruptible_reading
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.errors import Cancelled
from svd_ui.events import never

from .conftest import CPU_PLAN, clip_of, picture, prepared, request


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


OPERATIONS: dict[str, Any] = {
    "pictures": lambda: functional.conv2d(noise(5, 6, 9, 8), noise(7, 6, 3, 3), noise(7), padding=1),
    "one picture": lambda: functional.conv2d(noise(1, 6, 9, 8), noise(7, 6, 3, 3), noise(7), padding=1),
    "strided": lambda: functional.conv2d(noise(1, 6, 9, 8), noise(7, 6, 3, 3), stride=2, padding=1),
    "dilated": lambda: functional.conv2d(noise(1, 6, 9, 8), noise(7, 6, 3, 3), dilation=2, padding=3),
    "no edge": lambda: functional.conv2d(noise(1, 6, 9, 8), noise(7, 6, 1, 1)),
    "grouped": lambda: functional.conv2d(noise(1, 6, 9, 8), noise(6, 1, 5, 5), padding=2, groups=6),
    "over time": lambda: functional.conv3d(noise(1, 4, 6, 5, 5), noise(4, 4, 3, 1, 1), noise(4), padding=(1, 0, 0)),
    "attention": lambda: functional.scaled_dot_product_attention(
        noise(3, 2, 70, 16), noise(3, 2, 70, 16), noise(3, 2, 70, 16)
    ),
    "one attention": lambda: functional.scaled_dot_product_attention(
        noise(1, 1, 70, 16), noise(1, 1, 9, 16), noise(1, 1, 9, 16)
    ),
    "linear": lambda: functional.linear(noise(3, 11, 8), noise(5, 8), noise(5)),
    "product": lambda: noise(11, 8) @ noise(8, 5),
    "products": lambda: noise(3, 11, 8) @ noise(3, 8, 5),
    "one of products": lambda: noise(1, 11, 8) @ noise(1, 8, 5),
}


class Calls(TorchDispatchMode):
    """How many operations are left when everything else has been divided."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in module.SPLITS
        return func(*args, **(kwargs or {}))


@torch.no_grad()
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_in_pieces_says_the_same(name: str) -> None:
    """As pieces of a single item each; a whole one where it is small."""
    expected = OPERATIONS[name]()
    with Calls() as inner, _Interruptible(never(), rate=1.0):
        got = OPERATIONS[name]()
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert inner.count >= 3
    with Calls() as inner, _Interruptible(never(), rate=1e15):
        assert torch.equal(OPERATIONS[name](), expected)
    assert inner.count == 1


@torch.no_grad()
@pytest.mark.parametrize("name", OPERATIONS)
def test_pieces_that_do_not_divide_the_whole(name: str) -> None:
    expected = OPERATIONS[name]()
    for rate in (1e3, 7e3, 1.3e4, 5e4, 2e5):
        with _Interruptible(never(), rate):
            torch.testing.assert_close(OPERATIONS[name](), expected, atol=1e-5, rtol=1e-5)


class After:
    """A token that is set once it has been asked a number of times."""

    def __init__(self, count: int) -> None:
        self.count = count

    def is_set(self) -> bool:
        self.count -= 1
        return self.count < 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call counts as a long one."""
    monkeypatch.setattr(module, "LONG_SECONDS", 0.0)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("profile", ["cpu", "4gb"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "stock"])
def test_a_step_ends_within_it_and_leaves_nothing_behind(tiny_folder: Path, profile: str, exact: bool) -> None:
    """Also where weights are streamed; the next clip is the same as ever."""
    plan = replace(CPU_PLAN, profile=PROFILES[profile], exact=exact)
    runtime = Runtime(folder_row(tiny_folder), tiny_folder, plan)
    asked = request(num_inference_steps=2, cache_interval=2)
    *_, expected = sample(prepared(runtime, asked))
    for asks in (2, 40, 150):
        with pytest.raises(Cancelled):
            list(sample(prepared(runtime, asked, cancel=After(asks))))
        assert not any(part._forward_pre_hooks for part in runtime.unet.modules())
    *_, again = sample(prepared(runtime, asked))
    assert torch.equal(again.latents, expected.latents)


@pytest.mark.usefixtures("slow")
def test_reading_the_still_and_decoding_end_within_them(runtime: Runtime) -> None:
    clip = clip_of(runtime)
    with pytest.raises(Cancelled), interruptible_reading(runtime, clip, After(30)):
        condition(runtime, picture(64, 64), clip, seeded(0))
    latents = noise(1, 4, 4, 8, 8)
    with pytest.raises(Cancelled):
        list(decode(decoder_of(runtime, picture(64, 64)), latents, 4, After(30)))


def test_short_calls_are_left_alone(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost nothing: no operation is looked at. Long ones are those of a full-size model, on a processor."""
    assert isinstance(interruptible(runtime, {"unet": 14 * 32 * 18}, never()), nullcontext)
    assert isinstance(interruptible(runtime, {"vae": 256}, never()), nullcontext)
    monkeypatch.setattr(module, "_weights", lambda part: {"unet": 1_525_000_000}.get(part, 98_000_000))
    large: Any = type("Large", (), {"device": CPU_PLAN.device, "plan": CPU_PLAN, "compiled": False})()
    large.unet, large.vae = "unet", "vae"

    def long(cells: dict[str, int]) -> bool:
        made: AbstractContextManager[Any] = interruptible(large, cells, threading.Event())
        return isinstance(made, _Interruptible)

    assert long({"unet": 25 * 128 * 72})
    assert long({"vae": 8 * 128 * 72})
    large.compiled = True
    assert not long({"unet": 25 * 128 * 72})
    large.device, large.compiled = torch.device("cuda:0"), False
    assert not long({"unet": 25 * 128 * 72})
