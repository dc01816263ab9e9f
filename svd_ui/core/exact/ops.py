"""What the layers share: work in chunks, tensors with one owner, and elementwise operations in place or in one kernel."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

RESIDENT_BYTES = 512 * 2**20
"""The most that a step in between holds where memory is plenty: far above what keeps a GPU busy."""
LEAN_BYTES = 64 * 2**20
"""The same under ``chunked_forward``."""
CACHE_BYTES = 2**20
"""The same for a row-wise step on a CPU: what stays in a core's own cache never travels to memory."""


class Chunked:
    """Mixed into ours: ``offload.chunked_forward`` and diffusers' ``enable_forward_chunking`` ask for small chunks.

    How many frames they ask for does not matter here: chunks are sized in bytes, so any number of frames divides.
    """

    _chunk_size: int | None = None

    def set_chunk_feed_forward(self, chunk_size: int | None, dim: int = 0) -> None:
        self._chunk_size = chunk_size

    @property
    def max_bytes(self) -> int:
        return RESIDENT_BYTES if self._chunk_size is None else LEAN_BYTES


def chunks(count: int, item_bytes: int, max_bytes: int) -> Iterator[slice]:
    """Slices that cover ``count`` items, as equal as can be, each of at most ``max_bytes`` (and at least one item)."""
    number = -(-count // max(1, max_bytes // item_bytes))
    if number <= 1 or (torch.compiler.is_compiling() and max_bytes >= RESIDENT_BYTES):
        yield slice(0, count)
        return
    size = -(-count // number)
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class OwnedTensors:
    """Tensors given away: whoever takes them holds the only reference, so they end when they have been used.

    As plain arguments they would live until the call returns, in the frames of everyone in between.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = tensors

    def take(self) -> tuple[Tensor, ...]:
        tensors, self._tensors = self._tensors, ()
        return tensors


def take(tensors: Tensor | OwnedTensors) -> tuple[Tensor, ...]:
    """Owned tensors, from now on the caller's alone, or the one that came as it is."""
    return tensors.take() if isinstance(tensors, OwnedTensors) else (tensors,)


def split_first(x: Tensor, size: int) -> Tensor:
    """``[(N size) ...]`` => ``[N size ...]``."""
    return x.view(-1, size, *x.shape[1:])


log = logging.getLogger(__name__)

_library: Any = torch.library.Library("svd_ui", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define("geglu_(Tensor(a!) value, Tensor gate) -> Tensor(a!)")


def geglu_(value: Tensor, gate: Tensor) -> Tensor:
    """``value * gelu(gate)`` (arXiv 2002.05202), in ``value``'s place. ``gate`` is used up.

    On CUDA one kernel with triton, where torch alone would take two and a third of the traffic more.
    """
    if torch.compiler.is_compiling():
        return value * functional.gelu(gate)
    fused: Tensor = torch.ops.svd_ui.geglu_(value, gate)
    return fused


def _geglu_eager(value: Tensor, gate: Tensor) -> Tensor:
    return value.mul_(torch.ops.aten.gelu_(gate))


def _geglu_cuda(value: Tensor, gate: Tensor) -> Tensor:
    _compiled_geglu()(value, gate)
    return value


def _geglu_one_kernel(value: Tensor, gate: Tensor) -> None:
    value.mul_(functional.gelu(gate))


@cache
def _compiled_geglu() -> Callable[[Tensor, Tensor], object]:
    """Compiled at its first call; the eager one where there is no triton, or from its first failure on."""
    if importlib.util.find_spec("triton") is None:
        return _geglu_eager
    compiled: Callable[[Tensor, Tensor], object] | None = torch.compile(_geglu_one_kernel, dynamic=True)

    def run(value: Tensor, gate: Tensor) -> object:
        nonlocal compiled
        if compiled is not None:
            try:
                return compiled(value, gate)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # no C compiler, no folder to write to, ...: before anything is written
                log.warning("triton does not work here, going on without", exc_info=error)
                compiled = None
        return _geglu_eager(value, gate)

    return run


def get_ready(device: torch.device) -> None:
    """Compile for ``device`` now what the first step of the first clip would wait for: some seconds, once a process."""
    if device.type == "cuda":
        # Numbers that have nothing to do with each other, or the kernel would only be for sizes related like these.
        geglu_(*torch.zeros(96, 2 * 160, dtype=torch.float16, device=device).chunk(2, dim=-1))


_library.impl("geglu_", _geglu_eager, "CompositeExplicitAutograd")
_library.impl("geglu_", _geglu_cuda, "CUDA")
_library.impl("geglu_", lambda value, gate: value, "Meta")


def plus_(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """``x + weight y`` in ``x``'s place; while compiling as a new tensor, which fuses better."""
    if torch.compiler.is_compiling():
        return x + y if weight is None else torch.addcmul(x, y, weight)
    return x.add_(y) if weight is None else x.addcmul_(y, weight)


def silu_(x: Tensor) -> Tensor:
    """``x sigmoid(x)`` in ``x``'s place."""
    return functional.silu(x, inplace=not torch.compiler.is_compiling())


def blend_(spatial: Tensor, temporal: Tensor, weight: Tensor) -> Tensor:
    """From ``spatial`` towards ``temporal`` by ``weight`` (broadcast), in ``spatial``'s place."""
    return torch.lerp(spatial, temporal, weight) if torch.compiler.is_compiling() else spatial.lerp_(temporal, weight)
