"""Work that takes long on a CPU, stopped within it: every operation asks first whether somebody cancelled.

A step of a full-size model takes minutes on a processor, and single convolutions and attentions take longer than people
wait, so the largest are done in pieces: pictures, rows of pixels or queries, which do not see each other. Where a call is
short nothing of this is there, nor on a GPU, whose host only launches work and is through with a step long before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ..clip import ClipSpec
from ..errors import Cancelled
from ..events import CancelToken

if TYPE_CHECKING:
    from .runtime import Runtime

aten = torch.ops.aten

LONG_SECONDS = 1.0
"""A call that would take longer at the processor's full rate, about two in truth, is made interruptible: looking at every
operation takes some tenths of a second."""
PIECE_SECONDS = 0.15
"""How long one piece of an operation may take, as far as the processor's rate tells."""
USUAL_RATE = 1e11
"""FLOP/s, where nobody measured them: of one core."""
OPERATIONS = {"unet": 0.1, "vae": 3.0, "image_encoder": 2.0}
"""Operations for each weight and latent cell (the encoder's: token), as the catalogue's counts have it for SVD."""
TOKENS = 257
LEAST_SUM = 512
"""Convolutions that sum up fewer numbers for one of theirs take as long as this many."""


def interruptible(runtime: Runtime, cells: Mapping[str, int], cancel: CancelToken) -> AbstractContextManager[Any]:
    """Within the block calls of the modules named, on that many latent ``cells`` of all frames, end soon after ``cancel`` is set.

    They raise Cancelled then. Nothing happens where such calls are short, or not the processor's.
    """
    if runtime.device.type != "cpu" or ("unet" in cells and runtime.compiled):
        return nullcontext()
    rate = runtime.plan.flops_per_second or USUAL_RATE
    operations = sum(OPERATIONS[name] * _weights(getattr(runtime, name)) * count for name, count in cells.items())
    return _Interruptible(cancel, rate) if operations > LONG_SECONDS * rate else nullcontext()


def interruptible_reading(runtime: Runtime, clip: ClipSpec, cancel: CancelToken) -> AbstractContextManager[Any]:
    """The same for what is made of a clip's still."""
    cells = clip.width * clip.height // runtime.patch**2
    return interruptible(runtime, {"vae": cells, "image_encoder": TOKENS}, cancel)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def cells_of(latents: Tensor) -> int:
    """Latent cells of all frames: ``[... C h w]``."""
    return latents.numel() // latents.shape[-3]


class _Interruptible(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, cancel: CancelToken, rate: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cancel, self._piece = cancel, PIECE_SECONDS * rate

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._cancel.is_set():
            raise Cancelled()
        kwargs = kwargs or {}
        parts = SPLITS[func](args, self._piece) if func in SPLITS else None
        if parts is None:
            return func(*args, **kwargs)
        return self._in_parts(func, parts, kwargs)

    def _in_parts(self, func: Any, parts: Parts, kwargs: dict[str, Any]) -> Any:
        """Results side by side, each part of which may be divided further."""
        whole: list[Tensor] = []
        done = 0
        for args in parts.arguments:
            made = self.__torch_dispatch__(func, (), args, kwargs)
            results = [made] if isinstance(made, Tensor) else list(made)
            for place, result in enumerate(results):
                if not done:
                    size = list(result.shape)
                    size[parts.dim] = parts.length
                    whole.append(result.new_empty(size))
                whole[place].narrow(parts.dim, done, result.shape[parts.dim]).copy_(result)
            done += results[0].shape[parts.dim]
        return whole[0] if isinstance(made, Tensor) else tuple(whole)


class Parts(NamedTuple):
    """One operation as several with ``arguments`` of their own, whose results have ``length`` in ``dim`` together."""

    arguments: Iterable[tuple[Any, ...]]
    dim: int
    length: int


def _ranges(count: int, operations: float, piece: float) -> Iterator[slice]:
    """``count`` items of ``operations`` in all, in slices of at most ``piece`` operations, or of one item."""
    size = max(1, int(count * piece / operations))
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _convolution(args: tuple[Any, ...], piece: float) -> Parts | None:
    """Pictures one by one; a large one in stretches of the side that the kernel spans least."""
    x, weight, bias, stride, padding, dilation, transposed, *rest = args
    spans = [step * (size - 1) + 1 for step, size in zip(dilation, weight.shape[2:], strict=True)]
    sides = [(x.shape[2 + d] + 2 * padding[d] - spans[d]) // stride[d] + 1 for d in range(len(spans))]
    operations = 2.0 * len(x) * len(weight) * math.prod(sides) * max(weight[0].numel(), LEAST_SUM)
    if transposed or operations <= piece:
        return None
    if len(x) > 1:
        return Parts(((x[some], *args[1:]) for some in _ranges(len(x), operations, piece)), 0, len(x))
    d = min((d for d in range(len(sides)) if sides[d] > 1), key=lambda d: spans[d], default=None)
    if d is None:
        return None
    inside = [*padding[:d], 0, *padding[d + 1 :]]

    def stretch(some: slice) -> tuple[Any, ...]:
        first, last = some.start * stride[d] - padding[d], (some.stop - 1) * stride[d] - padding[d] + spans[d]
        part = x.narrow(2 + d, max(first, 0), min(last, x.shape[2 + d]) - max(first, 0))
        edges = [0, 0] * (len(sides) - 1 - d) + [max(-first, 0), max(last - x.shape[2 + d], 0)]
        part = functional.pad(part, edges) if any(edges) else part
        return (part, weight, bias, stride, inside, dilation, transposed, *rest)

    return Parts((stretch(some) for some in _ranges(sides[d], operations, piece)), 2 + d, sides[d])


def _attention(args: tuple[Any, ...], piece: float) -> Parts | None:
    """``[N heads tokens C]``: entries of the batch one by one; those of many tokens by stretches of the queries."""
    query, key, *rest = args
    operations = 4.0 * query.numel() * key.shape[2]
    dim = 0 if len(query) > 1 else 2
    if operations <= piece or query.shape[dim] == 1:
        return None
    ranges = _ranges(query.shape[dim], operations, piece)
    if dim == 0:
        return Parts(((query[some], key[some], rest[0][some], *rest[1:]) for some in ranges), dim, len(query))
    return Parts(((query[:, :, some], key, *rest) for some in ranges), dim, query.shape[2])


def _product(at: int) -> Split:
    """Rows of the matrix that is argument ``at``, the other being the next."""

    def split(args: tuple[Any, ...], piece: float) -> Parts | None:
        rows = args[at]
        operations = 2.0 * rows.numel() * args[at + 1].shape[-1]
        if operations <= piece or len(rows) == 1 or (at and args[0].ndim > 1):
            return None
        ranges = _ranges(len(rows), operations, piece)
        return Parts(((*args[:at], rows[some], *args[at + 1 :]) for some in ranges), 0, len(rows))

    return split


def _batched_product(args: tuple[Any, ...], piece: float) -> Parts | None:
    """``[N T C]`` times ``[N C D]``: entries one by one, then rows."""
    one, two = args
    operations = 2.0 * one.numel() * two.shape[-1]
    dim = 0 if len(one) > 1 else 1
    if operations <= piece or one.shape[dim] == 1:
        return None
    ranges = _ranges(one.shape[dim], operations, piece)
    if dim == 0:
        return Parts(((one[some], two[some]) for some in ranges), 0, len(one))
    return Parts(((one[:, some], two) for some in ranges), 1, one.shape[1])


Split = Callable[[tuple[Any, ...], float], Parts | None]
SPLITS: dict[Any, Split] = {
    aten.convolution.default: _convolution,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
    aten.mm.default: _product(0),
    aten.addmm.default: _product(1),
    aten.bmm.default: _batched_product,
}
"""Operations that grow with the clip => how they come in parts that know nothing of each other."""
