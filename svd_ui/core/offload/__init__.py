"""Where weights are while they are used: resident, moved in per module, or streamed per layer.

Masters stay where they were loaded; a smaller profile only changes what is on the device at a time,
never a result. Everything here restores what it found.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ...catalog import ProfileRow
from ...notes import Note
from .pinned_memory import pin, tensors_of
from .streaming import StreamedModule, units_of

MAX_FORWARD_CHUNK = 5
GROUP_OFFLOADED = frozenset({"unet", "image_encoder"})
"""What group offload streams. Not the autoencoder: it is small, and for encoding it runs in another number format than
its masters have, so it is moved as a whole instead."""

CPU = torch.device("cpu")
UnusedParts = Mapping[str, Sequence[nn.Module]]
"""Name of a module => its parts that never run, whose weights need not travel."""


@contextmanager
def on_device(
    module: nn.Module, device: torch.device, dtype: torch.dtype | None = None, unused: Sequence[nn.Module] = ()
) -> Iterator[None]:
    """``module`` on ``device`` (and in ``dtype``) within the block; afterwards its very tensors are back.

    Nothing is copied back: the originals are kept, so leaving costs nothing and loses nothing. Blocks may nest; what
    is on the device already stays where it is. ``unused`` parts stay behind.
    """
    tensors = tensors_of(module, unused)
    originals = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            # Page-locked masters need not be waited for; the number format changes on the device, which is faster.
            tensor.data = tensor.data.to(device, non_blocking=True).to(wanted)
        yield
    finally:
        for tensor, original in zip(tensors, originals, strict=True):
            tensor.data = original


class Placement:
    """Keeps ``modules`` where a profile wants them; ``use`` makes one ready to run on ``device``.

    ``notes`` say what did not go as planned.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        device: torch.device,
        profile: ProfileRow,
        unused: UnusedParts | None = None,
    ) -> None:
        self._modules, self._device, self._unused = modules, device, unused or {}
        self._streamed: dict[str, StreamedModule] = {}
        notes: list[Note | None] = []
        for name, module in modules.items():
            if profile.offload == "none":
                module.to(device)
            elif profile.offload == "group" and name in GROUP_OFFLOADED:
                self._streamed[name] = StreamedModule(module, device, self._unused.get(name, ()))
                notes.append(self._streamed[name].note)
            else:  # as a step down to streaming wants them, so that they need not be copied for it
                streamable = units_of(module, self._unused.get(name, ())) if name in GROUP_OFFLOADED else []
                notes.append(pin(module, device, [unit.weights.tensors for unit in streamable]))
        self._resident = profile.offload == "none"
        self.notes: tuple[Note, ...] = tuple(dict.fromkeys(note for note in notes if note))

    @contextmanager
    def use(self, name: str, dtype: torch.dtype | None = None) -> Iterator[Any]:
        """The module ``name``, on the device within the block, in ``dtype`` where one is given.

        Blocks of one module may nest: an outer one around several uses saves the copies of the inner ones.
        """
        module = self._modules[name]
        unused = () if self._resident else self._unused.get(name, ())
        streamed = self._streamed.get(name)
        with streamed.on_device() if streamed else on_device(module, self._device, dtype, unused):
            yield module

    def remove(self) -> None:
        """All modules back in host memory; nothing of this placement is left on them."""
        self._streamed.clear()
        for module in self._modules.values():
            module.to(CPU)


def largest_divisor(number: int, at_most: int) -> int:
    """The largest divisor of ``number`` that is not above ``at_most``; at least 1."""
    return next(d for d in range(min(number, at_most), 0, -1) if number % d == 0)


@contextmanager
def chunked_forward(unet: nn.Module, num_frames: int, enabled: bool) -> Iterator[None]:
    """Feed-forward layers run a few frames at a time within the block, for less memory and the same result.

    The chunk has to divide the number of frames (13 frames in chunks of 5 raise), so it is its largest divisor
    of at most 5.
    """
    chunk = largest_divisor(num_frames, MAX_FORWARD_CHUNK)
    blocks: list[Any] = (
        [block for block in unet.modules() if hasattr(block, "set_chunk_feed_forward")] if enabled else []
    )
    try:
        for block in blocks:
            block.set_chunk_feed_forward(chunk_size=chunk, dim=0)
        yield
    finally:
        for block in blocks:
            block.set_chunk_feed_forward(chunk_size=None, dim=0)


def trim() -> None:
    """Hand freed memory back: CUDA's caches to the driver, page-locked and other freed memory to the system."""
    empty_cache()
    if torch.cuda.is_available() and hasattr(
        torch.accelerator, "empty_host_cache"
    ):  # not in the oldest PyTorch we take
        torch.accelerator.empty_host_cache()
    give_back_pages()


def empty_cache() -> None:
    """The device's freed memory to its driver, after what only circles kept alive is gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


SPARE_BYTES = 256 * 1024**2
"""What the C library may keep: taking it from the system again costs time too."""


class _Mallinfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def give_back_pages() -> None:
    """What the C library keeps of freed memory to the system, where that is much.

    Loading in another number format leaves gigabytes there, in pieces that are never asked for again.
    """
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        if _kept_bytes(libc) > SPARE_BYTES:
            libc.malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library: nothing to trim


def _kept_bytes(libc: ctypes.CDLL) -> float:
    """Free bytes in the C library's lists; all there could be where it is too old to tell."""
    if not hasattr(libc, "mallinfo2"):
        return float("inf")
    libc.mallinfo2.restype = _Mallinfo
    return int(libc.mallinfo2().fordblks)
