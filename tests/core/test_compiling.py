"""CompiledBlocks blocks: the same results, few graphs, and a compiler that fails costs nothing but its gain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from svd_ui.catalog import PROFILES
from svd_ui.core import compiling
from svd_ui.core.compiling import CompiledBlocks, decide, is_compiler_error, repeated_blocks
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.notes import sentence

from .conftest import picture, prepared, request

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def clip(runtime: Runtime, seed: int = 3, **values: Any) -> Tensor:
    asked = request(num_inference_steps=3, **values)
    *_, last = sample(prepared(runtime, asked, picture(64, 64, seed), seeded(seed)))
    return last.latents


def said(*args: Any) -> tuple[bool, str]:
    compiled, why = decide(*args)
    return compiled, sentence(why)


def test_when_blocks_are_compiled() -> None:
    resident, streamed = PROFILES["24gb"], PROFILES["4gb"]
    assert decide("off", CUDA, resident, 9, True)[0] is False
    assert decide("on", CPU, resident, 0, False)[0] is True
    assert said("on", CUDA, streamed, 9, True) == (False, "not compiled: the profile streams the weights")
    chunked = resident.model_copy(update={"forward_chunking": True})
    assert decide("on", CUDA, PROFILES["12gb"], 9, True)[0] is True
    assert said("on", CUDA, chunked, 9, True) == (False, "not compiled: the profile works in small parts")
    assert [decide("auto", CUDA, resident, waiting, False)[0] for waiting in (0, 3, 4, 9)] == [False, False, True, True]
    assert decide("auto", CUDA, resident, 0, True)[0] is True
    assert decide("auto", CPU, resident, 9, True)[0] is False
    assert said("auto", CUDA, resident, 4, False)[1] == "compiled: 4 more clips waiting"


def test_the_same_clip_without_a_graph_more_over_steps_conditionings_and_clips(runtime: Runtime) -> None:
    """In turn, every step calls the U-Net twice, each time with another sigma; a second clip has another still."""
    expected = [clip(runtime), clip(runtime, seed=4)]
    counter = CompileCounterWithBackend("eager")
    compiled = CompiledBlocks(runtime.unet, backend=counter)  # type: ignore[arg-type]
    first = clip(runtime)
    graphs = counter.frame_count
    second = clip(runtime, seed=4)
    assert compiled.failure is None
    assert 3 <= graphs <= len(repeated_blocks(runtime.unet))
    assert counter.frame_count == graphs
    for got, wanted in zip((first, second), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)
    compiled.remove()
    assert torch.equal(clip(runtime), expected[0])
    assert counter.frame_count == graphs


def test_only_the_repeated_blocks_are_compiled_and_nothing_stays(runtime: Runtime) -> None:
    before = {name: dict(module.__dict__) for name, module in runtime.unet.named_modules()}
    compiled = CompiledBlocks(runtime.unet, backend="eager")
    touched = {type(m).__name__ for m in runtime.unet.modules() if m._compiled_call_impl is not None}
    assert touched == {"BasicTransformerBlock", "TemporalBasicTransformerBlock", "SpatioTemporalResBlock"}
    compiled.remove()
    after = {name: module.__dict__ for name, module in runtime.unet.named_modules()}
    assert {name: sorted(values) for name, values in after.items()} == {n: sorted(v) for n, v in before.items()}
    assert not any(module._compiled_call_impl for module in runtime.unet.modules())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.error: Exception | None = None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class BasicTransformerBlock(Block):
    pass


class Ours(BasicTransformerBlock):
    """A subclass by another name, as a swapped class could be."""


def test_subclasses_are_blocks_too() -> None:
    net = nn.Sequential(BasicTransformerBlock(), Ours(), Block())
    assert repeated_blocks(net) == [net[0], net[1]]


def test_a_compiler_that_fails_leaves_the_eager_blocks_and_says_why() -> None:
    calls: list[int] = []

    def broken(graph: Any, inputs: Any) -> Any:
        calls.append(1)
        raise RuntimeError("no C compiler here")

    net = nn.Sequential(BasicTransformerBlock(), Ours())
    x = torch.randn(3, 2)
    expected = net(x)
    compiled = CompiledBlocks(net, backend=broken)  # type: ignore[arg-type]
    assert torch.equal(net(x), expected)
    assert torch.equal(net(x), expected)
    assert calls == [1]  # one block tried, none again
    assert compiled.failure == "no C compiler here"
    assert not any(module._compiled_call_impl for module in net.modules())


def test_memory_that_runs_out_is_not_the_compilers_fault() -> None:
    def full(graph: Any, inputs: Any) -> Any:
        def run(*_: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        return run

    net = nn.Sequential(Ours())
    compiled = CompiledBlocks(net, backend=full)  # type: ignore[arg-type]
    with pytest.raises(torch.OutOfMemoryError):
        net(torch.randn(3, 2))
    assert compiled.failure is None
    assert not is_compiler_error(MemoryError())
    assert is_compiler_error(torch._dynamo.exc.TorchDynamoException("x"))


def test_the_limit_of_graphs_is_raised_for_a_large_model() -> None:
    CompiledBlocks(nn.Sequential(Ours()), backend="eager").remove()
    assert torch._dynamo.config.recompile_limit >= compiling.GRAPHS


def test_a_runtime_compiles_as_its_plan_says_and_no_longer_after_stepping_down(runtime: Runtime) -> None:
    def blocks() -> int:
        return sum(module._compiled_call_impl is not None for module in runtime.unet.modules())

    plan = runtime.plan
    runtime.adopt(replace(plan, compile=True))
    assert runtime.compiled
    assert blocks() == len(repeated_blocks(runtime.unet))
    runtime.use_profile(PROFILES["8gb"])
    assert (runtime.compiled, blocks(), runtime.plan.compile) == (False, 0, False)
    runtime.adopt(replace(plan, compile=True))
    assert runtime.compiled
    for parts in ("6gb", "4gb"):
        runtime.adopt(replace(plan, profile=PROFILES[parts], compile=True))
        assert (runtime.compiled, blocks()) == (False, 0)
