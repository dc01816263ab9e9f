"""A device that is not there: the whole clip on "cuda:0" or "mps:0" of a machine that has neither.

Every tensor is a real one in host memory that knows which device it is meant to be on: its storage carries the name, and
``torch.Tensor.device`` reads it. So numbers are computed, results can be compared with a CPU's, and an operation that mixes
devices or number formats fails here as it would there. FakeTensorMode alone would not do: it takes matrices, norms and
convolutions of mixed formats, and stops where a clip looks at a value.

The one seam is ``PretendedDevice``: within it torch answers as if the device were there, moves change the name, page-locked
memory and streams are counted and not used.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from svd_ui.core import loading

CPU, META = torch.device("cpu"), torch.device("meta")
aten = torch.ops.aten
REAL_DEVICE = torch._C.TensorBase.device
REAL_TENSOR = torch.tensor

TRANSFERS = {aten._to_copy.default, aten.copy_.default, aten._local_scalar_dense.default, aten.is_pinned.default}
INDEXED_FROM_THE_HOST = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
"""These take their indices from host memory too."""
ONE_FORMAT = {
    "convolution",
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "native_group_norm",
    "native_layer_norm",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
    "grid_sampler_2d",
    "native_batch_norm",
    "linear",
    "lerp",
    "lerp_",
    "cat",
}
"""Operators whose floating tensors a GPU wants in one format; ``cat`` would widen them all without a word."""
SUMS = {aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default}
PAGE = 4096


class Mixed(BaseException):
    """One operation on tensors of several devices, or in several number formats."""


def where(tensor: Tensor) -> torch.device:
    """The device that ``tensor`` is meant to be on."""
    if REAL_DEVICE.__get__(tensor).type != "cpu":
        return REAL_DEVICE.__get__(tensor)  # type: ignore[no-any-return]
    return getattr(tensor.untyped_storage(), "pretended", CPU)


class Unsupported(BaseException):
    """What Apple's GPUs do not do, or do not do in every version of macOS that we run on."""


class PretendedDevice(TorchDispatchMode):
    """Entered, it is there: ``name`` is ``cuda:0`` or ``mps:0``.

    ``bytes`` and ``peak`` are of the device; ``pinned`` is what CUDA's host allocator holds, which rounds up to powers of two and
    gives nothing back by itself. ``operators`` counts what ran on the device, by (name, format, dimensions of its largest tensor); ``waits`` the times the host waited for a number of it.
    """

    def __init__(self, name: str, total_bytes: int = 24 * 2**30, capability: tuple[int, int] = (8, 6)) -> None:
        super().__init__()
        self.device = torch.device(name)
        self.total_bytes, self.capability = total_bytes, capability
        self.bytes = self.peak = self.waits = 0
        self.pinned, self.most_pinned, self._pinned_free = 0, 0, Counter[int]()
        self.operators: Counter[tuple[str, torch.dtype, int]] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> PretendedDevice:
        with ExitStack() as stack:
            for patch in _patches(self):
                stack.enter_context(patch)
            stack.enter_context(mock.patch.object(loading, "load_module", self._on_the_host(loading.load_module)))
            super().__enter__()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def _on_the_host(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Files are read into host memory whatever the device is, by libraries with tricks of their own."""

        def loaded(*args: Any, **kwargs: Any) -> Any:
            self.__exit__(None, None, None)
            try:
                return load(*args, **kwargs)
            finally:
                self.__enter__()

        return loaded

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((*args, *kwargs.values())))
        places = {where(tensor) for tensor in tensors if tensor.ndim or where(tensor) != CPU}
        device, pinned = kwargs.get("device"), bool(kwargs.pop("pin_memory", False))
        if META in {REAL_DEVICE.__get__(tensor) for tensor in tensors} | {device}:
            return func(*args, **kwargs)
        if func is aten.is_pinned.default:
            return getattr(tensors[0].untyped_storage(), "page_locked", False)
        if func not in TRANSFERS:
            self._check(func, tensors, places)
        if func is aten._local_scalar_dense.default or (func in TRANSFERS and places - {CPU} and device == CPU):
            self.waits += bool(places - {CPU})
        target = torch.device(device) if device is not None else next(iter(places - {CPU} or places), CPU)
        if func is aten.copy_.default:
            target = where(tensors[0])
        if device is not None:
            kwargs["device"] = CPU
        if target != CPU and tensors:
            name = func._schema.name.removeprefix("aten::")
            self.operators[name, tensors[-1].dtype, max(tensor.ndim for tensor in tensors)] += 1
        result = _computed(func, args, kwargs)
        known = {id(tensor.untyped_storage()) for tensor in tensors}
        for tensor in _tensors((result,)):
            if id(tensor.untyped_storage()) not in known:
                self._place(tensor, target, pinned)
        return result

    def _check(self, func: Any, tensors: list[Tensor], places: set[torch.device]) -> None:
        name = func._schema.name.removeprefix("aten::").removeprefix("svd_ui::")
        if len(places) > 1:
            on_host = [tensor for tensor in tensors if where(tensor) == CPU and tensor.ndim]
            if func not in INDEXED_FROM_THE_HOST or any(tensor.is_floating_point() for tensor in on_host):
                shapes = ", ".join(f"{where(tensor)} {tuple(tensor.shape)}" for tensor in tensors)
                raise Mixed(f"{name} of tensors on several devices: {shapes}")
        formats = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        if places - {CPU} and name in ONE_FORMAT and len(formats) > 1:
            raise Mixed(f"{name} in several number formats: {sorted(map(str, formats))}")
        if self.device in places and self.device.type == "mps":
            if name == "convolution" and tensors[0].ndim == 5:
                raise Unsupported("a convolution of three dimensions")
            if name == "grid_sampler_2d":
                raise Unsupported("bicubic sampling")

    def _place(self, tensor: Tensor, device: torch.device, pinned: bool) -> None:
        storage: Any = tensor.untyped_storage()
        if pinned:
            storage.page_locked = True
            self._lock_pages(storage)
        if device == CPU or hasattr(storage, "pretended"):
            return
        assert device == self.device, f"there is no {device} here"
        if device.type == "mps" and tensor.dtype == torch.float64:
            raise Unsupported("float64")
        storage.pretended = device
        self._hold(storage.nbytes())
        weakref.finalize(storage, self._hold, -storage.nbytes())

    def _hold(self, nbytes: int) -> None:
        self.bytes += nbytes
        self.peak = max(self.peak, self.bytes)

    def _lock_pages(self, storage: Any) -> None:
        block = 1 << (max(storage.nbytes(), PAGE) - 1).bit_length()
        if self._pinned_free[block]:
            self._pinned_free[block] -= 1
        else:
            self.pinned += block
            self.most_pinned = max(self.most_pinned, self.pinned)
        weakref.finalize(storage, self._pinned_free.update, {block: 1})

    def empty_host_cache(self) -> None:
        self.pinned -= sum(block * count for block, count in self._pinned_free.items())
        self._pinned_free.clear()


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    """In half precision sums are made in float32, as GPUs do it; this CPU's own are thirty times as slow."""
    first = next(_tensors(args), None)
    if func not in SUMS or first is None or first.dtype not in {torch.float16, torch.bfloat16}:
        return func(*args, **kwargs)
    wide = [arg.float() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args]
    return func(*wide, **kwargs).to(first.dtype)


def _patches(here: PretendedDevice) -> Iterator[Any]:
    """What torch answers while ``here`` is there."""
    on = {"cuda": _cuda, "mps": _mps}[here.device.type]
    yield from on(here)
    tensor: dict[str, Any] = {
        "device": property(where),
        "is_cuda": property(lambda self: where(self).type == "cuda"),
        "is_mps": property(lambda self: where(self).type == "mps"),
        "to": _to,
        "cpu": lambda self, *_: _to(self, CPU),
        "numpy": _numpy,
    }
    for name, value in tensor.items():
        yield mock.patch.object(torch.Tensor, name, value)
    yield mock.patch.object(torch, "tensor", _tensor)


def _cuda(here: PretendedDevice) -> Iterator[Any]:
    properties = SimpleNamespace(uuid="0000", name="Pretended", total_memory=here.total_bytes)
    stream = _Stream()
    answers: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda *_: "Pretended",
        "get_device_capability": lambda *_: here.capability,
        "get_device_properties": lambda *_: properties,
        "is_bf16_supported": lambda *_, **__: here.capability >= (8, 0),
        "get_arch_list": lambda: ["sm_50", "sm_60", "sm_70", "sm_75", "sm_86", "compute_86"],
        "mem_get_info": lambda *_: (here.total_bytes - here.bytes, here.total_bytes),
        "memory_reserved": lambda *_: here.bytes,
        "empty_cache": lambda: None,
        "synchronize": lambda *_: None,
        "current_stream": lambda *_: stream,
        "Stream": lambda *_: _Stream(),
        "stream": lambda *_: nullcontext(),
        "device": lambda *_: nullcontext(),
    }
    for name, value in answers.items():
        yield mock.patch.object(torch.cuda, name, value)
    yield mock.patch.object(torch.accelerator, "empty_host_cache", here.empty_host_cache, create=True)


def _mps(here: PretendedDevice) -> Iterator[Any]:
    yield mock.patch.object(torch.backends.mps, "is_available", return_value=True)
    yield mock.patch.object(torch.backends.mps, "is_macos_or_newer", return_value=True)
    yield mock.patch.object(torch.mps, "recommended_max_memory", return_value=here.total_bytes)
    yield mock.patch.object(torch.mps, "empty_cache")
    yield mock.patch.object(torch.mps, "synchronize")


class _Stream:
    """Copies are over when they begin; what waits for them does not wait."""

    def record_event(self) -> str:
        return "event"

    def wait_event(self, event: str) -> None:
        assert event == "event"

    def wait_stream(self, other: Any) -> None:
        assert isinstance(other, _Stream)

    def synchronize(self) -> None:
        pass


def _to(self: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
    """``Tensor.to``: the very tensor where it is there in that format already."""
    if args and isinstance(args[0], Tensor):
        args = (where(args[0]), args[0].dtype, *args[1:])
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    device = where(self) if device is None else _indexed(device)
    in_place = (device, dtype or self.dtype) == (where(self), self.dtype) and not copy
    if in_place and (memory_format is None or self.is_contiguous(memory_format=memory_format)):
        return self
    options = {} if memory_format is None else {"memory_format": memory_format}
    moved: Tensor = aten._to_copy(self, dtype=dtype, device=device, non_blocking=non_blocking, **options)
    return moved


def _indexed(device: torch.device) -> torch.device:
    return device if device.type in {"cpu", "meta"} or device.index is not None else torch.device(device.type, 0)


def _numpy(self: Tensor, *args: Any, **kwargs: Any) -> Any:
    assert where(self) == CPU, f"numpy cannot read a tensor on {where(self)}"
    return torch._C.TensorBase.numpy(self, *args, **kwargs)


def _tensor(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
    """``torch.tensor``, which makes its numbers where no dispatch mode sees them."""
    made = REAL_TENSOR(data, **kwargs)
    return made if device is None else _to(made, torch.device(device))
