"""Work in parts where a step in between would need much memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

RESIDENT_BYTES = 512 * 2**20
"""The most that a step in between holds where memory is plenty: far above what keeps a GPU busy."""
LEAN_BYTES = 64 * 2**20
"""The same under ``chunked_forward``."""
CACHE_BYTES = 2**20
"""The same for a row-wise step on a CPU: what stays in a core's own cache never travels to memory."""


class Chunked:
    """Mixed into ours: ``memory.chunked_forward`` and diffusers' ``enable_forward_chunking`` ask for small parts.

    How many frames they ask for does not matter here: parts are sized in bytes, so any number of frames divides.
    """

    _chunk_size: int | None = None

    def set_chunk_feed_forward(self, chunk_size: int | None, dim: int = 0) -> None:
        self._chunk_size = chunk_size

    @property
    def most_bytes(self) -> int:
        return RESIDENT_BYTES if self._chunk_size is None else LEAN_BYTES


def parts(count: int, bytes_each: int, most_bytes: int) -> Iterator[slice]:
    """Slices that cover ``count`` items, as equal as can be, each of at most ``most_bytes`` (and at least one item)."""
    number = -(-count // max(1, most_bytes // bytes_each))
    if number <= 1 or (torch.compiler.is_compiling() and most_bytes >= RESIDENT_BYTES):
        yield slice(0, count)
        return
    size = -(-count // number)
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class Handed:
    """Tensors given away: whoever takes them holds the only reference, so they end when they have been used.

    As plain arguments they would live until the call returns, in the frames of everyone in between.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = tensors

    def take(self) -> tuple[Tensor, ...]:
        tensors, self._tensors = self._tensors, ()
        return tensors


def taken(given: Tensor | Handed) -> tuple[Tensor, ...]:
    """The tensors of a hand, or the one that came as it is."""
    return given.take() if isinstance(given, Handed) else (given,)


def split_first(x: Tensor, size: int) -> Tensor:
    """``[(N size) ...]`` => ``[N size ...]``."""
    return x.view(-1, size, *x.shape[1:])
