"""Element by element, in place where that saves memory, in one kernel where a compiler is at hand."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

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
