"""Group offload: a module runs while only a few of its layers are on the device.

Masters stay in host memory. Each *unit* (a block, or a layer outside of any) is copied to the device
before it runs and evicted after; meanwhile the units that followed it last time are prefetched. A guess
that proves wrong, as when a step skips layers, costs a copy that is waited for and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .pinned_memory import CopyStream, PackedWeights, copy_stream_for, pack, tensors_of

NO_SPLIT = frozenset(
    {
        "SpatioTemporalResBlock",
        "BasicTransformerBlock",
        "TemporalBasicTransformerBlock",
        "TimestepEmbedding",
        "Downsample2D",
        "Upsample2D",
        "CLIPEncoderLayer",
    }
)
"""Classes (or subclasses of those) that are copied as one unit; other modules are split down to their layers."""
SMALL_BYTES = 64 * 1024
"""Layers up to this size (norms, blending factors) stay on the device while the module is in use."""


@dataclass(eq=False)
class Unit:
    """What is copied together: ``module`` and its ``weights`` in host memory."""

    module: nn.Module
    weights: PackedWeights


def units_of(module: nn.Module, unused: Sequence[nn.Module] = ()) -> list[Unit]:
    """``module`` in units, each tensor in one of them, in the order of definition; ``unused`` parts are in none."""
    seen: set[int] = {id(tensor) for part in unused for tensor in tensors_of(part)}
    units: list[Unit] = []
    for part in _parts(module):
        tensors = [tensor for tensor in tensors_of(part) if id(tensor) not in seen]
        seen.update(map(id, tensors))
        if tensors:
            units.append(Unit(part, PackedWeights(tensors)))
    return units


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if own or not any(True for _ in module.children()) or any(c.__name__ in NO_SPLIT for c in type(module).__mro__):
        yield module
        return
    for child in module.children():
        yield from _parts(child)


class StreamedModule:
    """``module`` prepared for streaming to ``device``; it runs inside ``on_device``.

    ``unused`` are parts that never run, whose weights therefore are never copied. At most ``buffer_bytes`` (twice
    the largest unit) and the ``resident`` small units are on the device. ``note`` tells what people should know.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        unused: Sequence[nn.Module] = (),
        copy_stream: CopyStream | None = None,
    ) -> None:
        units = units_of(module, unused)
        self.note = pack([unit.weights for unit in units], device)
        self.resident = [unit for unit in units if unit.weights.nbytes <= SMALL_BYTES]
        self.units = [unit for unit in units if unit.weights.nbytes > SMALL_BYTES]
        self.buffer_bytes = 2 * max((unit.weights.nbytes for unit in self.units), default=0)
        self._copy_stream = copy_stream or copy_stream_for(device)
        self._successors: dict[Unit, Unit] = {}
        self._running = False

    @contextmanager
    def on_device(self) -> Iterator[None]:
        """The module runs on the device within the block; afterwards its masters are its weights again."""
        if self._running:
            yield
            return
        session = _StreamingSession(self, self._copy_stream, self._successors)
        self._running = True
        try:
            session.start()
            yield
        finally:
            self._running = False
            session.stop()


@dataclass
class _Slot:
    """A unit's stretch of the buffer, and the event of the copy into it."""

    start: int
    end: int
    bytes: Tensor
    event: Any


class _StreamingSession:
    """One use of a ``StreamedModule``: its hooks, and what of it is on the device."""

    def __init__(self, streamed: StreamedModule, copy_stream: CopyStream, successors: dict[Unit, Unit]) -> None:
        self._streamed, self._copy_stream, self._successors = streamed, copy_stream, successors
        self._handles: list[RemovableHandle] = []
        self._slots: dict[Unit, _Slot] = {}
        self._buffer: Tensor | None = None
        self._cursor = 0
        self._previous: Unit | None = None

    def start(self) -> None:
        self._buffer = self._copy_stream.allocate(self._streamed.buffer_bytes)
        for unit in self._streamed.resident:
            assert unit.weights.bytes is not None
            target = self._copy_stream.allocate(unit.weights.nbytes)
            self._copy_stream.wait(self._copy_stream.copy(target, unit.weights.bytes))
            unit.weights.bind(target)
        for unit in self._streamed.units:
            self._handles.append(unit.module.register_forward_pre_hook(self._pre_hook(unit)))
            self._handles.append(unit.module.register_forward_hook(self._post_hook(unit)))

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        for unit in (*self._streamed.units, *self._streamed.resident):
            unit.weights.restore()
        self._slots.clear()
        self._copy_stream.synchronize()
        self._buffer = None

    def _pre_hook(self, unit: Unit) -> Any:
        def load(*_: Any) -> None:
            slot = self._slots.get(unit)
            if slot is None:
                self._evict(*self._slots)  # a wrong guess, none yet, or what a failed pass left
                slot = self._prefetch(unit)
                assert slot is not None, "an empty buffer holds any unit"
            self._copy_stream.wait(slot.event)
            unit.weights.bind(slot.bytes)
            if self._previous is not None:
                self._successors[self._previous] = unit
            self._previous = unit
            self._prefetch_successors(unit)

        return load

    def _post_hook(self, unit: Unit) -> Any:
        def unload(*_: Any) -> None:
            self._evict(unit)
            self._prefetch_successors(unit)

        return unload

    def _prefetch_successors(self, unit: Unit) -> None:
        """Begin to copy what followed ``unit`` last time, as far as the buffer has space."""
        for _ in self._streamed.units:
            successor = self._successors.get(unit)
            if successor is None or (successor not in self._slots and self._prefetch(successor) is None):
                return
            unit = successor

    def _prefetch(self, unit: Unit) -> _Slot | None:
        """Begin to copy ``unit``; None where the buffer has no space for it."""
        assert self._buffer is not None
        assert unit.weights.bytes is not None
        start = self._free_offset(unit.weights.nbytes)
        if start is None:
            return None
        end = start + unit.weights.nbytes
        target = self._buffer[start:end]
        slot = _Slot(start, end, target, self._copy_stream.copy(target, unit.weights.bytes))
        self._slots[unit] = slot
        self._cursor = end
        return slot

    def _free_offset(self, nbytes: int) -> int | None:
        """Where ``nbytes`` are free: behind the latest copy if possible, so that the buffer is used as a ring."""
        for start in (self._cursor, 0, *(slot.end for slot in self._slots.values())):
            free = all(start + nbytes <= slot.start or slot.end <= start for slot in self._slots.values())
            if free and start + nbytes <= self._streamed.buffer_bytes:
                return start
        return None

    def _evict(self, *units: Unit) -> None:
        for unit in units:
            unit.weights.restore()
            self._slots.pop(unit, None)
        self._copy_stream.wait_for_compute()
