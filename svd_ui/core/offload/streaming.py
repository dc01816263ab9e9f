"""Group offload: a module runs while only a few of its layers are on the device.

Masters stay in host memory. Each *unit* (a block, or a layer outside of any) is copied to the device
before it runs and forgotten after; meanwhile the units that followed it last time are on their way. A guess
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

from .copy_stream import Mover, mover_for
from .pinned_memory import Piece, settle, tensors_of

WHOLE = frozenset(
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
"""Classes (or subclasses of those) that travel in one piece; other modules are taken apart down to their layers."""
SMALL_BYTES = 64 * 1024
"""Layers up to this size (norms, blending factors) stay on the device while the module is in use."""


@dataclass(eq=False)
class Unit:
    """What travels together: ``module`` and the ``piece`` of host memory that holds its weights."""

    module: nn.Module
    piece: Piece


def units_of(module: nn.Module, left_out: Sequence[nn.Module] = ()) -> list[Unit]:
    """``module`` in units, each tensor in one of them, in the order of definition; ``left_out`` is in none."""
    seen: set[int] = {id(tensor) for part in left_out for tensor in tensors_of(part)}
    units: list[Unit] = []
    for part in _parts(module):
        tensors = [tensor for tensor in tensors_of(part) if id(tensor) not in seen]
        seen.update(map(id, tensors))
        if tensors:
            units.append(Unit(part, Piece(tensors)))
    return units


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if own or not any(True for _ in module.children()) or any(c.__name__ in WHOLE for c in type(module).__mro__):
        yield module
        return
    for child in module.children():
        yield from _parts(child)


class Streamed:
    """``module`` prepared for streaming to ``device``; it runs inside ``on_device``.

    ``left_out`` are parts that never run, whose weights therefore never travel. At most ``room_bytes`` (twice
    the largest unit) and the small layers are on the device. ``note`` tells what people should know.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        left_out: Sequence[nn.Module] = (),
        mover: Mover | None = None,
    ) -> None:
        units = units_of(module, left_out)
        self.note = settle([unit.piece for unit in units], device)
        self.kept = [unit for unit in units if unit.piece.nbytes <= SMALL_BYTES]
        self.units = [unit for unit in units if unit.piece.nbytes > SMALL_BYTES]
        self.room_bytes = 2 * max((unit.piece.nbytes for unit in self.units), default=0)
        self._mover = mover or mover_for(device)
        self._after: dict[Unit, Unit] = {}
        self._running = False

    @contextmanager
    def on_device(self) -> Iterator[None]:
        """The module runs on the device within the block; afterwards its masters are its weights again."""
        if self._running:
            yield
            return
        run = _Run(self, self._mover, self._after)
        self._running = True
        try:
            run.start()
            yield
        finally:
            self._running = False
            run.stop()


@dataclass
class _Held:
    """A unit's place in the room, and the ticket of the copy into it."""

    start: int
    end: int
    bytes: Tensor
    ticket: Any


class _Run:
    """One use of a ``Streamed`` module: its hooks, and what of it is on the device."""

    def __init__(self, streamed: Streamed, mover: Mover, after: dict[Unit, Unit]) -> None:
        self._streamed, self._mover, self._after = streamed, mover, after
        self._handles: list[RemovableHandle] = []
        self._held: dict[Unit, _Held] = {}
        self._room: Tensor | None = None
        self._turn = 0
        self._previous: Unit | None = None

    def start(self) -> None:
        self._room = self._mover.room(self._streamed.room_bytes)
        for unit in self._streamed.kept:
            assert unit.piece.bytes is not None
            target = self._mover.room(unit.piece.nbytes)
            self._mover.wait(self._mover.copy(target, unit.piece.bytes))
            unit.piece.show(target)
        for unit in self._streamed.units:
            self._handles.append(unit.module.register_forward_pre_hook(self._entering(unit)))
            self._handles.append(unit.module.register_forward_hook(self._leaving(unit)))

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        for unit in (*self._streamed.units, *self._streamed.kept):
            unit.piece.rest()
        self._held.clear()
        self._mover.close()
        self._room = None

    def _entering(self, unit: Unit) -> Any:
        def enter(*_: Any) -> None:
            held = self._held.get(unit)
            if held is None:
                self._drop(*self._held)  # a wrong guess, none yet, or what a failed pass left
                held = self._bring(unit)
                assert held is not None, "an empty room holds any unit"
            self._mover.wait(held.ticket)
            unit.piece.show(held.bytes)
            if self._previous is not None:
                self._after[self._previous] = unit
            self._previous = unit
            self._bring_next(unit)

        return enter

    def _leaving(self, unit: Unit) -> Any:
        def leave(*_: Any) -> None:
            self._drop(unit)
            self._bring_next(unit)

        return leave

    def _bring_next(self, unit: Unit) -> None:
        """Begin to copy what followed ``unit`` last time, as far as there is room."""
        for _ in self._streamed.units:
            following = self._after.get(unit)
            if following is None or (following not in self._held and self._bring(following) is None):
                return
            unit = following

    def _bring(self, unit: Unit) -> _Held | None:
        """Begin to copy ``unit``; None where no place is free."""
        assert self._room is not None
        assert unit.piece.bytes is not None
        start = self._place(unit.piece.nbytes)
        if start is None:
            return None
        end = start + unit.piece.nbytes
        target = self._room[start:end]
        held = _Held(start, end, target, self._mover.copy(target, unit.piece.bytes))
        self._held[unit] = held
        self._turn = end
        return held

    def _place(self, nbytes: int) -> int | None:
        """Where ``nbytes`` are free: behind the latest copy if possible, so that the room is used in turn."""
        for start in (self._turn, 0, *(held.end for held in self._held.values())):
            free = all(start + nbytes <= held.start or held.end <= start for held in self._held.values())
            if free and start + nbytes <= self._streamed.room_bytes:
                return start
        return None

    def _drop(self, *units: Unit) -> None:
        for unit in units:
            unit.piece.rest()
            self._held.pop(unit, None)
        self._mover.used()
