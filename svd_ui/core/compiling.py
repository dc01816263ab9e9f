"""Regional torch.compile: the U-Net's repeated blocks, each compiled once for all of its twins.

A block's twins share their code, so one graph per shape and width serves them all: some twenty for a checkpoint of SVD's
size, where the whole U-Net would be one graph of hundreds of layers. Everything between the blocks, hooks on
the model included, stays ordinary Python.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from ..catalog import ProfileRow
from ..notes import Note

log = logging.getLogger(__name__)

REPEATED = frozenset({"BasicTransformerBlock", "TemporalBasicTransformerBlock", "SpatioTemporalResBlock"})
"""Classes (or subclasses of those) that are compiled."""
GRAPHS = 128
"""Of one class: every resolution, width and number of channels has its own, and so has every size of clip."""
WORTH_CLIPS = 4
"""Clips that have to wait for ``auto`` to compile: it takes about a minute, and gains some seconds on each."""


def decide(
    setting: Literal["auto", "on", "off"],
    device: torch.device,
    profile: ProfileRow,
    waiting: int,
    compiled_before: bool,
) -> tuple[bool, Note]:
    """Whether the blocks are compiled, and why. ``waiting`` clips are queued behind this one."""
    if setting == "off":
        return False, Note.of("not_compiled", why=Note.of("chosen"))
    if unfit := obstacle(profile):
        return False, Note.of("not_compiled", why=unfit)
    if setting == "on":
        return True, Note.of("compiled", why=Note.of("chosen"))
    if device.type != "cuda":
        return False, Note.of("not_compiled", why=Note.of("no_gain_on", device=device.type))
    if compiled_before:
        return True, Note.of("compiled", why=Note.of("compiled_before"))
    if waiting >= WORTH_CLIPS:
        return True, Note.of("compiled", why=Note.of("clips_wait", count=waiting))
    return False, Note.of("not_compiled", why=Note.of("pays_over_several"))


def obstacle(profile: ProfileRow) -> Note | None:
    """Why blocks cannot be compiled under ``profile``; None where they can."""
    if profile.offload == "group":  # hooks that move weights are no part of a graph
        return Note.of("weights_streamed")
    if profile.forward_chunking:  # a graph would hold every part by itself: dozens per layer, minutes of compiling
        return Note.of("forward_chunked")
    return None


class CompiledBlocks:
    """The repeated blocks of ``unet`` compiled, until ``remove``; afterwards nothing of it is left on them.

    Compiling itself happens at the first calls. When it fails, all blocks go on uncompiled and ``failure`` says why.
    """

    def __init__(self, unet: nn.Module, backend: str = "inductor") -> None:
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
        torch._dynamo.config.accumulated_recompile_limit = max(
            torch._dynamo.config.accumulated_recompile_limit, len(REPEATED) * GRAPHS
        )
        self.failure: str | None = None
        self._blocks = repeated_blocks(unet)
        for block in self._blocks:
            # dynamic=False: graphs for any shape would be fewer and slower, and a clip's shapes never change.
            # fullgraph: what fails has then failed before anything ran, so that the block can run once more.
            run = torch.compile(block._call_impl, backend=backend, dynamic=False, fullgraph=True)
            block._compiled_call_impl = partial(self._call, block, run)

    def remove(self) -> None:
        for block in self._blocks:
            block.__dict__.pop("_compiled_call_impl", None)
        self._blocks = []

    def _call(self, block: nn.Module, compiled: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            if not is_compiler_error(error):
                raise
            self.failure = _first_line(getattr(error, "inner_exception", error))
            log.warning("torch.compile failed, going on without", exc_info=error)
        self.remove()
        return block._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


def repeated_blocks(unet: nn.Module) -> list[nn.Module]:
    """The blocks of ``unet`` that many others are like."""
    return [module for module in unet.modules() if any(base.__name__ in REPEATED for base in type(module).__mro__)]


def is_compiler_error(error: BaseException) -> bool:
    """Whether ``error`` is torch.compile's own and not one of the model at work, such as memory that ran out."""
    modules = [base.__module__ for base in type(error).__mro__]
    return any(name.startswith(("torch._dynamo", "torch._inductor", "triton")) for name in modules)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:160] or type(error).__name__
