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

__all__ = ["CrossConstants", "exact", "unused_in_steps"]

ATTRIBUTES = ("_constants", "_conv2d")
"""What our classes set on instances and diffusers' do not know."""


@contextmanager
def exact(unet: Any, vae: Any, *, conv2d: bool = False) -> Iterator[None]:
    """The modules of ``unet`` and ``vae`` in our classes within the block; afterwards nothing of it is left.

    Enter before hooks or placement take hold of their ``forward``. ``conv2d`` runs convolutions over time as
    two-dimensional ones, the same sums; which is faster depends on the device.
    """
    swapped = _swap([*unet.modules(), *vae.modules()], conv2d)
    try:
        yield
    finally:
        _swap_back(swapped)


def _counterparts() -> dict[type[nn.Module], type[nn.Module]]:
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


def _swap(modules: Iterable[nn.Module], conv2d: bool) -> list[nn.Module]:
    """Give every module that has a counterpart its class. Returns those changed."""
    counterparts = _counterparts()
    swapped = [module for module in modules if type(module) in counterparts]
    for module in swapped:
        module.__class__ = counterparts[type(module)]
        if hasattr(module, "_conv2d"):
            module.__dict__["_conv2d"] = conv2d
    return swapped


def _swap_back(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.__class__ = type(module).__bases__[0]
        added = ATTRIBUTES if hasattr(module, "set_chunk_feed_forward") else (*ATTRIBUTES, "_chunk_size")
        for name in added:
            module.__dict__.pop(name, None)
