"""StreamedModule weights: the same numbers from a device that never holds more than a part of them."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from svd_ui.core.exact import unused_in_steps
from svd_ui.core.offload.pinned_memory import CopyStream, tensors_of
from svd_ui.core.offload.streaming import SMALL_BYTES, StreamedModule, units_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from tests.core.conftest import prepared, request

CPU = torch.device("cpu")
WIDTH = 160  # a layer of it is larger than what is kept on the device


class Net(nn.Module):
    """Layers of several sizes, a small one, one that never runs, and a branch that some passes skip."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 3 * WIDTH)
        self.narrow = nn.Linear(3 * WIDTH, WIDTH)
        self.deep = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3)))
        self.unused = nn.Linear(WIDTH, 4 * WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)
        self.fail_in: str | None = None

    def forward(self, x: Tensor, skip: bool = False) -> Tensor:
        x = self.narrow(torch.relu(self.wide(self.norm(self.first(x)))))
        if self.fail_in:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.last(x if skip else x + self.deep(x))  # type: ignore[no-any-return]


class Device(CopyStream):
    """A pretended device: it knows which memory is its own, and what was copied into it, when."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.buffers: list[Tensor] = []
        self.log: list[Any] = []

    def allocate(self, nbytes: int) -> Tensor:
        self.buffers.append(torch.full((nbytes,), 0xFF, dtype=torch.uint8))
        return self.buffers[-1]

    def copy(self, target: Tensor, master: Tensor) -> Any:
        target.copy_(master)
        event = ("copied", target.data_ptr(), target.numel())
        self.log.append(event)
        return event

    def wait(self, event: Any) -> None:
        assert event in self.log
        self.log.append(("waited", *event[1:]))

    def wait_for_compute(self) -> None:
        self.log.append(("computed",))

    def synchronize(self) -> None:
        self.log.append(("synchronized",))
        for buffer in self.buffers:
            buffer.fill_(0xFF)  # NaN: whoever still reads it is found out
        self.buffers.clear()

    @property
    def bytes(self) -> int:
        return sum(buffer.numel() for buffer in self.buffers)


class OnlyOn(TorchDispatchMode):
    """Fails any computation that reads a weight from anywhere but the device."""

    def __init__(self, device: Device, masters: set[int]) -> None:
        super().__init__()
        self._device, self._masters = device, masters

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        heavy = any(word in str(func) for word in ("mm", "conv", "norm", "add", "mul", "lerp", "softmax", "attention"))
        if heavy:
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    assert leaf.untyped_storage().data_ptr() not in self._masters, f"{func} reads a master"
        return func(*args, **(kwargs or {}))


def storages(module: nn.Module) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors_of(module)}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))


class Make(Protocol):
    def __call__(self, module: nn.Module, **values: Any) -> tuple[StreamedModule, Device]: ...


@pytest.fixture
def make() -> Make:
    def streamed(module: nn.Module, **values: Any) -> tuple[StreamedModule, Device]:
        device = Device()
        return StreamedModule(module, CPU, copy_stream=device, **values), device

    return streamed


def test_the_result_is_the_same_to_the_bit_and_only_the_device_computes(net: Net, x: Tensor, make: Make) -> None:
    expected = net(x)
    streamed, device = make(net)
    masters = storages(net)
    with streamed.on_device(), OnlyOn(device, masters):
        assert all(torch.equal(net(x), expected) for _ in range(3))
    assert torch.equal(net(x), expected)


def test_the_device_never_holds_more_than_two_units_and_the_small_layers(net: Net, x: Tensor, make: Make) -> None:
    streamed, device = make(net)
    largest = max(unit.weights.nbytes for unit in streamed.units)
    small = sum(unit.weights.nbytes for unit in streamed.resident)
    whole = sum(tensor.nbytes for tensor in tensors_of(net))
    with streamed.on_device():
        net(x)
        assert device.bytes == 2 * largest + small < whole
    assert {type(unit.module) for unit in streamed.resident} == {nn.LayerNorm}
    assert all(unit.weights.nbytes > SMALL_BYTES for unit in streamed.units)


def test_after_the_first_pass_units_are_on_their_way_before_they_are_needed(net: Net, x: Tensor, make: Make) -> None:
    streamed, device = make(net)
    seen: list[int] = []
    with streamed.on_device():
        handle = net.first.register_forward_pre_hook(lambda *_: seen.append(len(device.log)))
        for _ in range(3):
            net(x)
        handle.remove()
    passes = [device.log[seen[0] : seen[1]], device.log[seen[1] : seen[2]], device.log[seen[2] :]]
    assert [waits_at_once(log) for log in passes] == [7, 0, 0]  # all seven units at first, then none


def waits_at_once(log: list[Any]) -> int:
    """Copies that something waited for the moment they began: nothing ran beside them."""
    return sum(1 for one, two in itertools.pairwise(log) if one[0] == "copied" and two == ("waited", *one[1:]))


def test_no_copy_begins_into_memory_whose_use_was_not_declared_over(net: Net, x: Tensor, make: Make) -> None:
    """Between two copies into the same bytes the stream has waited for the work: on CUDA that orders them."""
    streamed, device = make(net)
    with streamed.on_device():
        for skip in (False, True, False, False, True):
            net(x, skip)
    live: dict[int, int] = {}
    for entry in device.log:
        if entry[0] == "computed":
            live.clear()  # what is held is not copied over: the next test of the results would see it
        elif entry[0] == "copied":
            _, start, size = entry
            assert not any(start < other + length and other < start + size for other, length in live.items())
            live[start] = size


def test_skipped_layers_cost_a_wait_and_change_nothing(net: Net, x: Tensor, make: Make) -> None:
    order = [False, True, False, True, True, False]
    expected = [net(x, skip) for skip in order]
    streamed, device = make(net)
    masters = storages(net)
    with streamed.on_device(), OnlyOn(device, masters):
        got = [net(x, skip) for skip in order]
    assert all(torch.equal(one, two) for one, two in zip(got, expected, strict=True))


def test_what_never_runs_never_travels(net: Net, x: Tensor, make: Make) -> None:
    streamed, _ = make(net, unused=[net.unused])
    before = net.unused.weight.data_ptr()
    assert net.unused not in {unit.module for unit in streamed.units}
    assert streamed.buffer_bytes < 2 * net.unused.weight.nbytes
    with streamed.on_device():
        net(x)
        assert net.unused.weight.data_ptr() == before


def test_a_failure_in_the_middle_leaves_the_masters_and_the_next_pass_runs(net: Net, x: Tensor, make: Make) -> None:
    expected = net(x)
    streamed, _ = make(net)
    masters = storages(net)

    def failing() -> None:
        with streamed.on_device():
            net(x)
            handle = net.wide.register_forward_hook(boom)
            try:
                with pytest.raises(RuntimeError, match="inside a unit"):
                    net(x)
            finally:
                handle.remove()
            assert torch.equal(net(x), expected)  # still streaming
            net.fail_in = "between units"
            net(x)

    with pytest.raises(torch.OutOfMemoryError):
        failing()
    net.fail_in = None
    assert storages(net) == masters
    assert torch.equal(net(x), expected)
    with streamed.on_device():
        assert torch.equal(net(x), expected)


def boom(*_: Any) -> None:
    raise RuntimeError("inside a unit")


def test_nothing_is_left_when_it_is_over(net: Net, x: Tensor, make: Make) -> None:
    streamed, device = make(net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masters = storages(net)
    with streamed.on_device():
        net(x)
    assert device.log[-1] == ("synchronized",)
    assert not device.buffers
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())
    assert storages(net) == masters
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_device_without_memory_leaves_the_masters(net: Net, x: Tensor) -> None:
    class Full(Device):
        def allocate(self, nbytes: int) -> Tensor:
            if self.buffers:  # for the units, but not for the small layers
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().allocate(nbytes)

    expected = net(x)
    streamed = StreamedModule(net, CPU, copy_stream=Full())
    masters = storages(net)
    with pytest.raises(torch.OutOfMemoryError), streamed.on_device():
        raise AssertionError("not reached")
    assert storages(net) == masters
    assert torch.equal(net(x), expected)


def test_uses_may_nest(net: Net, x: Tensor, make: Make) -> None:
    expected = net(x)
    streamed, device = make(net)
    with streamed.on_device():
        with streamed.on_device():
            net(x)
        assert device.buffers
        assert torch.equal(net(x), expected)
    assert not device.buffers


@pytest.mark.parametrize("cache_interval", [1, 2])  # 2: every other step skips all but the outermost layers
def test_the_real_unet_computes_with_what_is_on_the_device_only(runtime: Runtime, cache_interval: int) -> None:
    def clip() -> Tensor:
        asked = request(num_inference_steps=3, cache_interval=cache_interval)
        context = prepared(runtime, asked)
        *_, last = sample(context)
        return last.latents

    device = Device()
    unused = unused_in_steps(runtime.unet)
    streamed = StreamedModule(runtime.unet, CPU, unused, copy_stream=device)
    expected = clip()  # of the packed weights: where they lie decides the kernels of some CPUs, hence the last bits
    masters = {
        unit.weights.bytes.untyped_storage().data_ptr()
        for unit in (*streamed.units, *streamed.resident)
        if unit.weights.bytes is not None
    }
    with streamed.on_device(), OnlyOn(device, masters):
        got = clip()
    assert torch.equal(got, expected)
    copied = sum(entry[2] for entry in device.log if entry[0] == "copied")
    assert copied > 3 * sum(unit.weights.nbytes for unit in streamed.units) / cache_interval
    assert streamed.buffer_bytes < sum(unit.weights.nbytes for unit in streamed.units)


def test_every_weight_of_the_real_modules_is_in_exactly_one_unit(runtime: Any) -> None:
    for module in (runtime.unet, runtime.image_encoder):
        units = units_of(module)
        tensors = [id(tensor) for unit in units for tensor in unit.weights.tensors]
        assert sorted(tensors) == sorted(id(tensor) for tensor in tensors_of(module))
    names = {type(unit.module).__name__ for unit in units_of(runtime.unet)}
    assert any("SpatioTemporalResBlock" in name for name in names)
    assert not any("Transformer2D" in name or "UNet" in name for name in names)
