"""Which of diffusers' classes become ours, and back."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from . import decoder, resnets, transformers, unet

OURS: tuple[type[nn.Module], ...] = (
    unet.UNetSpatioTemporalConditionModel,
    unet.UpBlockSpatioTemporal,
    unet.CrossAttnUpBlockSpatioTemporal,
    transformers.TransformerSpatioTemporalModel,
    transformers.BasicTransformerBlock,
    transformers.TemporalBasicTransformerBlock,
    resnets.ResnetBlock2D,
    resnets.SpatioTemporalResBlock,
    resnets.Upsample2D,
    resnets.AlphaBlender,
    decoder.TemporalDecoder,
    decoder.UpBlockTemporalDecoder,
)
"""Each stands for its first base class and has its name, by which diffusers finds blocks to compile."""

ATTRIBUTES = ("_constants", "_conv2d")
"""What ours set on instances and diffusers' do not know."""


def swap(modules: Iterable[nn.Module], conv2d: bool) -> list[nn.Module]:
    """Give every module that has a counterpart its class. Returns those changed."""
    counterparts = {ours.__bases__[0]: ours for ours in OURS}
    swapped = []
    for module in modules:
        ours = counterparts.get(type(module))
        if ours is None:
            continue
        module.__class__ = ours
        if issubclass(ours, resnets.SpatioTemporalResBlock):
            module.__dict__["_conv2d"] = conv2d
        swapped.append(module)
    return swapped


def swap_back(modules: Iterable[nn.Module]) -> None:
    """Undo ``swap``."""
    for module in modules:
        module.__class__ = type(module).__bases__[0]
        added = ATTRIBUTES if hasattr(module, "set_chunk_feed_forward") else (*ATTRIBUTES, "_chunk_size")
        for name in added:
            module.__dict__.pop(name, None)
