"""What is the same in every step of a clip, computed once.

Cross-attention sees one key, the picture's embedding. The softmax over one key is 1, so the layer's output is the
projected value, whatever the tokens are: the same for all of them, in every step. Nor does the embedding of the
frames' positions depend on anything but their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Constants(NamedTuple):
    """One transformer's, for B conditionings.

    position  [F C]    embedding of the frames' positions
    spatial   [N 1 C]  outputs of each block's cross-attention; N is B, or B F where frames are conditioned differently
    temporal  [B 1 C]
    """

    position: Tensor
    spatial: tuple[Tensor, ...]
    temporal: tuple[Tensor, ...]

    def fit(self, batch: int, num_frames: int) -> bool:
        return len(self.position) == num_frames and all(len(output) == batch for output in self.temporal)


class CrossConstants:
    """The constants of every transformer of a U-Net, for one clip and conditioning.

    Computed at the start of the clip, so weights merged before (LoRAs) are in them. Only the layers
    needed come to the device, one at a time, and none of them is needed again while the clip is denoised.
    """

    @torch.no_grad()
    def __init__(self, unet: nn.Module, image_embeds: Tensor, num_frames: int) -> None:
        """``image_embeds`` ``[B 1 D]`` on the device and in the number format that the U-Net runs in."""
        if image_embeds.shape[1] != 1:
            raise ValueError("cross-attention is constant for a single key only")
        self._of = [(layer, constants(layer, image_embeds, image_embeds, num_frames)) for layer in transformers(unet)]

    @contextmanager
    def use(self) -> Iterator[None]:
        """Calls of the U-Net, or of its transformers alone, use these constants within the block."""
        try:
            for transformer, values in self._of:
                transformer.__dict__["_constants"] = values
            yield
        finally:
            for transformer, _ in self._of:
                transformer.__dict__.pop("_constants", None)


def constants(transformer: Any, spatial: Tensor, temporal: Tensor, num_frames: int) -> Constants:
    """The constants for contexts ``[N 1 D]`` and ``[B 1 D]``."""
    return Constants(
        position(transformer, num_frames, spatial),
        tuple(cross_attention(block.attn2, spatial) for block in transformer.transformer_blocks),
        tuple(cross_attention(block.attn2, temporal) for block in transformer.temporal_transformer_blocks),
    )


def cross_attention(attn: Any, context: Tensor) -> Tensor:
    """Attention to the one key of ``context`` ``[N 1 D]`` => ``[N 1 C]``."""
    return _linear(attn.to_out[0], _linear(attn.to_v, context))


def position(transformer: Any, num_frames: int, like: Tensor) -> Tensor:
    """``[F C]`` in the device and number format of ``like``."""
    frames = transformer.time_proj(torch.arange(num_frames, device=like.device)).to(like.dtype)
    embed = transformer.time_pos_embed
    return _linear(embed.linear_2, embed.act(_linear(embed.linear_1, frames)))


def _linear(layer: Any, x: Tensor) -> Tensor:
    """``layer`` on ``x``'s device, wherever its weights are; they stay there."""
    bias = None if layer.bias is None else layer.bias.to(x)
    return functional.linear(x, layer.weight.to(x), bias)


def transformers(unet: nn.Module) -> list[Any]:
    """Those modules that mix a spatial and a temporal transformer."""
    return [module for module in unet.modules() if hasattr(module, "temporal_transformer_blocks")]


def unused_in_steps(unet: nn.Module) -> list[nn.Module]:
    """Layers whose weights no step needs while ``CrossConstants`` are in use."""
    layers: list[nn.Module] = []
    for transformer in transformers(unet):
        layers.append(transformer.time_pos_embed)
        for block in (*transformer.transformer_blocks, *transformer.temporal_transformer_blocks):
            layers += [block.norm2, block.attn2]
    return layers
