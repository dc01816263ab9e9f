"""Weights in host memory the way a GPU fetches them fastest: page-locked, and what travels together side by side.

Two properties of page-locked memory shape this file. PyTorch's allocator rounds each request up to a power of two
(pytorch issues 95823, 150517), so tensors are packed into a few large blocks instead of being pinned one by one.
And a failed request leaves its error behind in the CUDA runtime, where the next kernel launch would find it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from ...notes import Note

BLOCK_BYTES = 256 * 1024**2
"""A power of two, so that nothing is lost to rounding; also small enough for drivers that limit one request."""
ALIGNMENT = 256
"""Of every tensor in its block, as the device's own allocator does it at least."""
UNPINNED = Note.of("unlocked_pages")


Lock = Callable[[int, torch.device], Tensor | None]
"""(bytes, device) => memory, or None where none can be locked."""


class Piece:
    """``tensors`` whose data lie one after the other in ``bytes`` (uint8 ``[nbytes]``) on the host, once ``settle`` ran."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self._forms = [_Form(tensor) for tensor in self.tensors]
        self._offsets: list[int] = []
        self.nbytes = 0
        for form in self._forms:
            self._offsets.append(self.nbytes)
            self.nbytes = _aligned(self.nbytes + form.nbytes)
        self.bytes: Tensor | None = None

    def settle(self, bytes: Tensor) -> None:
        """Copy the numbers into ``bytes`` and let the tensors live there; the old memory is let go of."""
        views = self._views(bytes)
        for tensor, view in zip(self.tensors, views, strict=True):
            view.copy_(tensor.data)
        self.bytes = bytes
        self.show(bytes)

    def show(self, bytes: Tensor) -> None:
        """Let the tensors read ``bytes``, a copy of this piece on any device."""
        for tensor, view in zip(self.tensors, self._views(bytes), strict=True):
            tensor.data = view

    def rest(self) -> None:
        """Back to the masters."""
        assert self.bytes is not None
        self.show(self.bytes)

    def _views(self, bytes: Tensor) -> list[Tensor]:
        return [form.of(bytes, offset) for form, offset in zip(self._forms, self._offsets, strict=True)]


class _Form:
    """How a tensor's numbers are to be read from bytes."""

    def __init__(self, tensor: Tensor) -> None:
        self.dtype, self.size = tensor.dtype, tensor.size()
        self.stride = torch.empty_like(tensor, device="meta").stride()  # dense, whatever the original was
        self.nbytes = tensor.numel() * tensor.element_size()

    def of(self, bytes: Tensor, offset: int) -> Tensor:
        return bytes[offset : offset + self.nbytes].view(self.dtype).as_strided(self.size, self.stride)


def tensors_of(module: nn.Module, left_out: Sequence[nn.Module] = ()) -> list[Tensor]:
    """Parameters and buffers of ``module``, each once, without those of ``left_out``."""
    skipped = {id(tensor) for part in left_out for tensor in (*part.parameters(), *part.buffers())}
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if id(tensor) not in skipped]


def settle(pieces: Sequence[Piece], device: torch.device, lock: Lock | None = None) -> Note | None:
    """Pack ``pieces`` into host memory, page-locked where ``device`` is a CUDA device.

    Returns a note where pages could not be locked; the pieces are packed all the same. ``lock`` gives
    page-locked memory, by default that of CUDA.
    """
    note: Note | None = None
    lock = lock or page_locked
    blocks = packed([piece.nbytes for piece in pieces])
    for block in blocks:
        total = sum(pieces[index].nbytes for index in block)
        memory = lock(total, device) if device.type == "cuda" and note is None else None
        if memory is None:
            note = UNPINNED if device.type == "cuda" else None
            memory = torch.empty(total, dtype=torch.uint8)
        start = 0
        for index in block:
            pieces[index].settle(memory[start : start + pieces[index].nbytes])
            start += pieces[index].nbytes
    return note


def lock_pages(module: nn.Module, device: torch.device) -> Note | None:
    """Page-lock the weights of ``module`` where ``device`` gains by it, once. Returns a note where that failed."""
    tensors = [tensor for tensor in tensors_of(module) if tensor.device.type == "cpu"]
    if device.type != "cuda" or all(tensor.is_pinned() for tensor in tensors):
        return None
    return settle([Piece([tensor]) for tensor in tensors], device)


def packed(sizes: Sequence[int], block: int = BLOCK_BYTES) -> list[list[int]]:
    """Indices of ``sizes`` block by block: the largest first, each where it first fits. One too large has its own."""
    blocks: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        place = next((number for number, room in enumerate(left) if room >= sizes[index]), None)
        if place is None:
            blocks.append([])
            left.append(max(block, sizes[index]))
            place = len(blocks) - 1
        blocks[place].append(index)
        left[place] -= sizes[index]
    return blocks


def page_locked(nbytes: int, device: torch.device) -> Tensor | None:
    """Page-locked memory, or None where the system has none to give."""
    try:
        with torch.cuda.device(device):  # else the first GPU would spend memory on a context, whichever is used
            return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:
        with suppress(RuntimeError):
            torch.ones(1, device=device)  # a kernel, which takes the left-over error with it
        return None


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
