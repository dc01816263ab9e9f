"""Where weights are while they are used: resident, moved in per module, or streamed per layer.

Masters stay where they were loaded; a smaller profile only changes what is on the device at a time,
never a result. Everything here restores what it found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..catalog import ProfileRow

MAX_FORWARD_CHUNK = 5
STREAMED = frozenset({"unet", "image_encoder"})
"""What group offload streams. Not the autoencoder: streams restore pinned half-precision copies after every layer,
which would undo its upcast for encoding; it is moved as a whole instead."""

CPU = torch.device("cpu")


@contextmanager
def moved(module: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> Iterator[None]:
    """``module`` on ``device`` (and in ``dtype``) within the block; afterwards its very tensors are back.

    Nothing is copied back: the originals are kept, so leaving costs nothing and loses nothing.
    """
    tensors = [*module.parameters(), *module.buffers()]
    originals = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            tensor.data = tensor.data.to(device, wanted)
        yield
    finally:
        for tensor, original in zip(tensors, originals, strict=True):
            tensor.data = original


class Placement:
    """Keeps ``modules`` where a profile wants them; ``use`` makes one ready to run on ``device``."""

    def __init__(self, modules: Mapping[str, nn.Module], device: torch.device, profile: ProfileRow) -> None:
        self._modules, self._device, self._offload = modules, device, profile.offload
        for name, module in modules.items():
            if self._offload == "none":
                module.to(device)
            elif self._offload == "group" and name in STREAMED:
                stream_layers(module, device)

    @contextmanager
    def use(self, name: str, dtype: torch.dtype | None = None) -> Iterator[Any]:
        """The module ``name``, on the device within the block, in ``dtype`` where one is given."""
        module = self._modules[name]
        if self._offload == "group" and name in STREAMED:
            yield module
        else:
            with moved(module, self._device, dtype):
                yield module

    def remove(self) -> None:
        """All modules back in host memory, without hooks."""
        for name, module in self._modules.items():
            if self._offload == "group" and name in STREAMED:
                stop_streaming(module)
            module.to(CPU)


def stream_layers(module: nn.Module, device: torch.device) -> None:
    """diffusers' group offload: each layer comes to ``device`` just before it runs, on its own stream on CUDA."""
    from diffusers.hooks.group_offloading import apply_group_offloading

    streams = device.type == "cuda"
    apply_group_offloading(module, device, CPU, "leaf_level", use_stream=streams, non_blocking=streams)


def stop_streaming(module: nn.Module) -> None:
    from diffusers.hooks import HookRegistry

    registry = HookRegistry.check_if_exists_or_initialize(module)
    for hook in ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading"):
        registry.remove_hook(hook, recurse=True)


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
    """Hand freed memory back: CUDA's cache to the driver, the C library's free lists to the system."""
    import ctypes
    import gc
    import sys

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            return  # another C library: nothing to trim
