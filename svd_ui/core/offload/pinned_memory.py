"""Weights in host memory the way a GPU fetches them fastest, and the stream that fetches them while it computes.

Two properties of page-locked memory shape this file. PyTorch's allocator rounds each request up to a power of two
(pytorch issues 95823, 150517), so tensors are packed into a few large blocks instead of being pinned one by one.
And a failed request leaves its error behind in the CUDA runtime, where the next kernel launch would find it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ...notes import Note

BLOCK_BYTES = 256 * 1024**2
"""A power of two, so that nothing is lost to rounding; also small enough for drivers that limit one request."""
ALIGNMENT = 256
"""Of every tensor in its block, as the device's own allocator does it at least."""
UNPINNED = Note.of("unlocked_pages")

PinnedAllocator = Callable[[int, torch.device], Tensor | None]
"""(bytes, device) => memory, or None where none can be locked."""


class PackedWeights:
    """``tensors`` whose data lie one after the other in ``bytes`` (uint8 ``[nbytes]``) on the host, after ``pack``."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self._layouts = [_TensorLayout(tensor) for tensor in self.tensors]
        self._offsets: list[int] = []
        self.nbytes = 0
        for layout in self._layouts:
            self._offsets.append(self.nbytes)
            self.nbytes += -(-layout.nbytes // ALIGNMENT) * ALIGNMENT
        self.bytes: Tensor | None = None

    def pack(self, bytes: Tensor) -> None:
        """Copy the numbers into ``bytes`` and let the tensors live there; the old memory is freed."""
        for tensor, view in zip(self.tensors, self._views(bytes), strict=True):
            view.copy_(tensor.data)
        self.bytes = bytes
        self.bind(bytes)

    def adopt(self, page_locked: bool) -> bool:
        """Whether the tensors lie in one stretch already, as an earlier ``pack`` left them; then they stay there."""
        storages = {tensor.untyped_storage().data_ptr() for tensor in self.tensors}
        starts = {
            tensor.storage_offset() * tensor.element_size() - offset
            for tensor, offset in zip(self.tensors, self._offsets, strict=True)
        }
        laid_out = all(
            layout.stride == tensor.stride() for layout, tensor in zip(self._layouts, self.tensors, strict=True)
        )
        if len(storages) != 1 or len(starts) != 1 or not laid_out:
            return False
        storage, start = self.tensors[0].untyped_storage(), starts.pop()
        locked = not page_locked or self.tensors[0].is_pinned()
        if start < 0 or start + self.nbytes > storage.nbytes() or not locked:
            return False
        self.bytes = torch.empty(0, dtype=torch.uint8).set_(storage, start, (self.nbytes,))  # type: ignore[call-overload]
        return True

    def bind(self, bytes: Tensor) -> None:
        """Let the tensors read ``bytes``, a copy of these weights on any device."""
        for tensor, view in zip(self.tensors, self._views(bytes), strict=True):
            tensor.data = view

    def restore(self) -> None:
        """Back to the masters on the host."""
        assert self.bytes is not None
        self.bind(self.bytes)

    def _views(self, bytes: Tensor) -> list[Tensor]:
        return [layout.view(bytes, offset) for layout, offset in zip(self._layouts, self._offsets, strict=True)]


class _TensorLayout:
    """How a tensor's numbers are to be read from bytes."""

    def __init__(self, tensor: Tensor) -> None:
        self.dtype, self.size = tensor.dtype, tensor.size()
        self.stride = torch.empty_like(tensor, device="meta").stride()  # dense, whatever the original was
        self.nbytes = tensor.nbytes

    def view(self, bytes: Tensor, offset: int) -> Tensor:
        return bytes[offset : offset + self.nbytes].view(self.dtype).as_strided(self.size, self.stride)


def tensors_of(module: nn.Module, unused: Sequence[nn.Module] = ()) -> list[Tensor]:
    """Parameters and buffers of ``module``, each once, without those of its ``unused`` parts."""
    skipped = {id(tensor) for part in unused for tensor in (*part.parameters(), *part.buffers())}
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if id(tensor) not in skipped]


def pack(
    weights: Sequence[PackedWeights], device: torch.device, allocator: PinnedAllocator | None = None
) -> Note | None:
    """Pack ``weights`` into host memory, page-locked where ``device`` is a CUDA device.

    Those that are stay where they are: two copies would not fit into many a machine. Returns a note where pages could not
    be locked; the weights are packed all the same. ``allocator`` gives page-locked memory, by default that of CUDA.
    """
    note: Note | None = None
    allocator = allocator or allocate_pinned
    weights = [packed for packed in weights if not packed.adopt(page_locked=device.type == "cuda")]
    for block in first_fit_decreasing([packed.nbytes for packed in weights]):
        total = sum(weights[index].nbytes for index in block)
        memory = allocator(total, device) if device.type == "cuda" and note is None else None
        if memory is None:
            note = UNPINNED if device.type == "cuda" else None
            memory = torch.empty(total, dtype=torch.uint8)
        start = 0
        for index in block:
            weights[index].pack(memory[start : start + weights[index].nbytes])
            start += weights[index].nbytes
    return note


def pin(module: nn.Module, device: torch.device, groups: Sequence[Sequence[Tensor]] = ()) -> Note | None:
    """Page-lock the weights of ``module`` where ``device`` gains by it, once. Returns a note where that failed.

    Tensors of one of ``groups`` come to lie side by side, as whoever streams them later wants it.
    """
    tensors = [tensor for tensor in tensors_of(module) if tensor.device.type == "cpu"]
    if device.type != "cuda" or all(tensor.is_pinned() for tensor in tensors):
        return None
    grouped = {id(tensor) for group in groups for tensor in group}
    alone = [[tensor] for tensor in tensors if id(tensor) not in grouped]
    return pack([PackedWeights(group) for group in (*groups, *alone)], device)


def first_fit_decreasing(sizes: Sequence[int], block: int = BLOCK_BYTES) -> list[list[int]]:
    """Indices of ``sizes`` block by block: the largest first, each where it first fits. One too large has its own."""
    blocks: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        fit = next((number for number, space in enumerate(free) if space >= sizes[index]), None)
        if fit is None:
            blocks.append([])
            free.append(max(block, sizes[index]))
            fit = len(blocks) - 1
        blocks[fit].append(index)
        free[fit] -= sizes[index]
    return blocks


def allocate_pinned(nbytes: int, device: torch.device) -> Tensor | None:
    """Page-locked memory, or None where the system has none to give."""
    try:
        with torch.cuda.device(device):  # else the first GPU would spend memory on a context, whichever is used
            return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:
        with suppress(RuntimeError):
            torch.ones(1, device=device)  # a kernel, which takes the left-over error with it
        return None


class CopyStream:
    """Copies from the host to ``device`` beside its work; the methods say only what has to come before what.

    This one is for devices that share the host's memory: a copy happens at once, and nothing is ever under way.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def allocate(self, nbytes: int) -> Tensor:
        """A buffer on the device, uint8 ``[nbytes]``."""
        return torch.empty(nbytes, dtype=torch.uint8, device=self._device)

    def copy(self, target: Tensor, master: Tensor) -> Any:
        """Begin to copy ``master`` (host) into ``target`` (a part of a buffer). Returns an event for ``wait``."""
        target.copy_(master)

    def wait(self, event: Any) -> None:
        """What is launched on the device from now on sees that copy."""

    def wait_for_compute(self) -> None:
        """Copies begun from now on wait for what was launched so far: they may overwrite what it reads."""

    def synchronize(self) -> None:
        """What is launched from now on waits for all copies: the buffers are about to be something else."""


class CudaCopyStream(CopyStream):
    """Copies on a stream of their own; events order them against the stream that computes.

    A buffer is one allocation of the computing stream that is divided up by us, and every reuse is ordered by
    an event. So ``record_stream`` is not needed, whose memory comes back only once the device has got there, which
    lets a host that runs ahead pile up copies.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def allocate(self, nbytes: int) -> Tensor:
        buffer = super().allocate(nbytes)
        self.wait_for_compute()  # whoever had that memory before may still be reading it
        return buffer

    def copy(self, target: Tensor, master: Tensor) -> Any:
        with torch.cuda.stream(self._stream):
            target.copy_(master, non_blocking=True)
            return self._stream.record_event()

    def wait(self, event: Any) -> None:
        torch.cuda.current_stream(self._device).wait_event(event)

    def wait_for_compute(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def synchronize(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


def copy_stream_for(device: torch.device) -> CopyStream:
    return CudaCopyStream(device) if device.type == "cuda" else CopyStream(device)
