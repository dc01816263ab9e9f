"""How bytes get from host memory to a device while it computes: the small part that knows about streams."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Mover(Protocol):
    """Copies run beside the work on the device; the methods say only what has to come before what."""

    def room(self, nbytes: int) -> Tensor:
        """Memory on the device, uint8 ``[nbytes]``."""

    def copy(self, target: Tensor, master: Tensor) -> Any:
        """Begin to copy ``master`` (host) into ``target`` (a part of the room). Returns a ticket for ``wait``."""

    def wait(self, ticket: Any) -> None:
        """What the device is given from now on sees that copy."""

    def used(self) -> None:
        """Copies begun from now on wait for what the device was given so far: they may overwrite what it reads."""

    def close(self) -> None:
        """What the device is given from now on waits for all copies: the room is about to be something else."""


class HostMover:
    """For devices that share the host's memory: a copy, at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def room(self, nbytes: int) -> Tensor:
        return torch.empty(nbytes, dtype=torch.uint8, device=self._device)

    def copy(self, target: Tensor, master: Tensor) -> Any:
        target.copy_(master)

    def wait(self, ticket: Any) -> None:
        """Nothing is ever under way."""

    def used(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is ever under way."""


class CudaMover:
    """Copies on a stream of their own; events order them against the stream that computes.

    The room is one allocation of the computing stream that is divided up by us, and every reuse is ordered by
    an event. So ``record_stream`` is not needed, whose memory comes back only once the device has got there, which
    lets a host that runs ahead pile up copies.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def room(self, nbytes: int) -> Tensor:
        room = torch.empty(nbytes, dtype=torch.uint8, device=self._device)
        self.used()  # whoever had that memory before may still be reading it
        return room

    def copy(self, target: Tensor, master: Tensor) -> Any:
        with torch.cuda.stream(self._stream):
            target.copy_(master, non_blocking=True)
            return self._stream.record_event()

    def wait(self, ticket: Any) -> None:
        torch.cuda.current_stream(self._device).wait_event(ticket)

    def used(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def close(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


def mover_for(device: torch.device) -> Mover:
    return CudaMover(device) if device.type == "cuda" else HostMover(device)
