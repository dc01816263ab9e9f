"""Counts what torch operations do, without doing them: run a model on the meta device inside ``Counter``."""

from __future__ import annotations

import weakref
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

FREE = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "detach"})
"""Operations that touch no data, beside views."""

IN_PLACE = frozenset(
    getattr(torch.ops.aten, name)
    for name in ("add_", "mul_", "div_", "sub_", "silu_", "gelu_", "lerp_", "addcmul_", "copy_", "clamp_")
)


class Counter(TorchDispatchMode):
    """Operations, memory traffic and memory within the block.

    ``flops``: two for each multiply-add of matrix products, convolutions and attention; nothing else is counted.
    ``bytes``: what every operation reads and writes, its inputs and outputs once each, as if no cache kept anything
    between two operations; broadcast elements once, views and allocations nothing.
    ``peak``: the most bytes of tensors made within the block that lived at once. Neither weights (made before), nor
    a kernel's own scratch memory, nor what an allocator loses to fragmentation.

    Attention is one fused operation, as every GPU kernel has it: it reads query, key and value, writes the result,
    and holds no matrix of scores. ``by_op`` splits the bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = self.live = self.peak = 0
        self.by_op: Tally[str] = Tally()
        self._seen: dict[int, int] = {}
        self._attention = _FusedAttention(self)
        self._paused = False

    def __enter__(self) -> Self:
        self._attention.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # What works in place changes no shape: there is nothing to find out by running it, and much time to save.
        out = args[0] if func._overloadpacket in IN_PLACE else func(*args, **(kwargs or {}))
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        for tensor in inputs:  # what came from outside the block is nothing it made
            self._is_new(tensor, counts=False)
        fresh = [tensor for tensor in outputs if self._is_new(tensor)]
        if self._paused:
            return out
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        if packet.__name__ not in FREE and (fresh or func._schema.is_mutable):
            self._move(packet.__name__, [*inputs, *outputs])
        return out

    def _move(self, name: str, tensors: list[Tensor]) -> None:
        moved = sum(map(_bytes, tensors))
        self.bytes += moved
        self.by_op[name] += moved

    def attention(self, flops: int, tensors: list[Tensor]) -> None:
        """One fused attention that touched ``tensors``."""
        self.flops += flops
        self._move("attention", tensors)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Follow memory only within the block."""
        self._paused, before = True, self._paused
        try:
            yield
        finally:
            self._paused = before

    def _is_new(self, tensor: Tensor, counts: bool = True) -> bool:
        """Whether its storage was never seen; from now on it was, with its bytes if it ``counts``."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if counts else 0
        if key in self._seen:
            return False
        self._seen[key] = size
        weakref.finalize(storage, self._forget, key)
        self.live += size
        self.peak = max(self.peak, self.live)
        return True

    def _forget(self, key: int) -> None:
        self.live -= self._seen.pop(key, 0)

    def know(self, *modules: nn.Module) -> Self:
        """Weights of ``modules`` are not activations."""
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                self._is_new(tensor, counts=False)
        return self


class _FusedAttention(TorchFunctionMode):
    """On the meta device torch would take attention apart, with its matrix of scores; GPUs never do."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = dict(zip(("query", "key", "value"), args, strict=False)) | dict(kwargs or {})
        query, key, value = named["query"], named["key"], named["value"]
        *batch, tokens, width = query.shape
        with self._counter.pause():
            # [N heads tokens width], laid out as the kernels leave it: tokens outside heads.
            out = query.new_empty((batch[0], tokens, *batch[1:], value.shape[-1])).movedim(1, -2)
        pairs = torch.Size(batch).numel() * tokens * key.shape[-2]
        self._counter.attention(2 * pairs * (width + value.shape[-1]), [query, key, value, out])
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    """Bytes that lie behind ``tensor``: a broadcast axis repeats what is there once."""
    real = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0]
    return torch.Size(real).numel() * tensor.element_size()
