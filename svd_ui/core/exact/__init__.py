"""Exact mode: Stable Video Diffusion's own layers, computed with less work, traffic and memory.

Nothing here changes a result beyond rounding. Within ``exact`` small modules of the U-Net and the autoencoder are of
our classes, which subclass diffusers' and hold no weights; afterwards they are what they were. Outside the block, with
gradients, and for shapes that SVD does not have, diffusers' own code runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from .constants import CrossConstants, unused_in_steps

__all__ = ["CrossConstants", "exact", "temporal_conv2d", "unused_in_steps"]

ATTRIBUTES = ("_constants",)
"""What our classes set on instances and diffusers' do not know."""

Classes = dict[type[nn.Module], type[nn.Module]]


@contextmanager
def exact(unet: Any, vae: Any) -> Iterator[None]:
    """The modules of ``unet`` and ``vae`` in our classes within the block; afterwards nothing of it is left.

    Enter before hooks or placement take hold of their ``forward``.
    """
    with _swapped([*unet.modules(), *vae.modules()], _counterparts()):
        yield


@contextmanager
def temporal_conv2d(*modules: nn.Module) -> Iterator[None]:
    """Every convolution over time alone runs as a two-dimensional one within the block, the same sums, exact mode or not.

    Which is faster depends on the device; some have no other.
    """
    from .resnets import Conv3d

    with _swapped([part for module in modules for part in module.modules()], {nn.Conv3d: Conv3d}):
        yield


def _counterparts() -> Classes:
    """diffusers' class => ours, which has its name: by that diffusers finds blocks to compile."""
    from . import models, resnets, transformers

    ours: tuple[type[nn.Module], ...] = (
        models.UNetSpatioTemporalConditionModel,
        models.UpBlockSpatioTemporal,
        models.CrossAttnUpBlockSpatioTemporal,
        models.TemporalDecoder,
        models.UpBlockTemporalDecoder,
        transformers.TransformerSpatioTemporalModel,
        transformers.BasicTransformerBlock,
        transformers.TemporalBasicTransformerBlock,
        resnets.ResnetBlock2D,
        resnets.SpatioTemporalResBlock,
        resnets.Upsample2D,
        resnets.AlphaBlender,
    )
    return {cls.__bases__[0]: cls for cls in ours}


@contextmanager
def _swapped(modules: Iterable[nn.Module], counterparts: Classes) -> Iterator[None]:
    """Every module that has a counterpart is of its class within the block."""
    swapped = [module for module in modules if type(module) in counterparts]
    for module in swapped:
        module.__class__ = counterparts[type(module)]
    try:
        yield
    finally:
        _swap_back(swapped)


def _swap_back(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.__class__ = type(module).__bases__[0]
        added = ATTRIBUTES if hasattr(module, "set_chunk_feed_forward") else (*ATTRIBUTES, "_chunk_size")
        for name in added:
            module.__dict__.pop(name, None)
