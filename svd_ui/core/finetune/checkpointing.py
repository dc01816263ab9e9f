"""Gradient checkpointing of the whole U-Net: diffusers covers its spatial blocks, this the temporal ones too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.checkpoint import checkpoint


@contextmanager
def checkpointed(unet: Any, enabled: bool) -> Iterator[None]:
    """Within the block activations of every transformer and resnet block are computed again in the backward pass."""
    blocks = _temporal_blocks(unet) if enabled else []
    if enabled:
        unet.enable_gradient_checkpointing()
    try:
        for block in blocks:
            block.forward = _again(block.forward)
        yield
    finally:
        for block in blocks:
            del block.forward
        if enabled:
            unet.disable_gradient_checkpointing()


def _again(forward: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


def _temporal_blocks(unet: Any) -> list[Any]:
    return [module for module in unet.modules() if type(module).__name__ == "TemporalBasicTransformerBlock"]
