"""The residual blocks of SVD's U-Net and decoder: in place, frames in chunks, inputs let go as soon as they are used."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import resnet, upsampling
from torch import Tensor, nn
from torch.nn import functional

from .ops import Chunked, OwnedTensors, blend_, bytes_of, chunks, plus_, silu_, split_first, take


class AlphaBlender(resnet.AlphaBlender):  # type: ignore[misc]
    """The learned blend between space and time, as one interpolation."""

    def forward(self, x_spatial: Tensor, x_temporal: Tensor, image_only_indicator: Tensor | None = None) -> Tensor:
        """``x_spatial``, which is used up, and ``x_temporal`` blended."""
        if torch.is_grad_enabled():
            return super().forward(x_spatial, x_temporal, image_only_indicator)  # type: ignore[no-any-return]
        return blend_(x_spatial, x_temporal, self.weight(x_spatial, image_only_indicator))

    def weight(self, like: Tensor, image_only_indicator: Tensor | None) -> Tensor:
        """Time's share, to be broadcast over ``like`` ``[B C F h w]`` or ``[B F, tokens, C]``."""
        alpha: Tensor = self.get_alpha(image_only_indicator, like.ndim).to(like.dtype)
        return alpha if self.switch_spatial_to_temporal_mix else 1 - alpha


class ResnetBlock2D(resnet.ResnetBlock2D):  # type: ignore[misc]
    """Two convolutions within each picture, around a residual."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        """``[N C h w]`` (and embeddings ``[N D]``) => a new tensor."""
        if torch.is_grad_enabled():
            return super().forward(input_tensor, temb, *args, **kwargs)  # type: ignore[no-any-return]
        return self.run((input_tensor,), temb)

    def run(self, inputs: tuple[Tensor, ...], temb: Tensor | None, out: Tensor | None = None) -> Tensor:
        """The block for channels that lie in ``inputs`` ``[N c h w]``; into ``out`` where given."""
        x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
        hidden = silu_(self.norm1(x))
        hidden = convolve(self.conv1, hidden, self._embedding(temb))
        hidden = silu_(self.norm2(hidden))
        hidden = self.conv2(hidden)
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)
        if out is None:
            hidden = plus_(hidden, x)
        else:
            hidden = torch.add(hidden, x, out=out)
        return hidden if self.output_scale_factor == 1 else hidden / self.output_scale_factor

    def _embedding(self, temb: Tensor | None) -> Tensor | None:
        """``[N D]`` => ``[N C]``, one row for all where all rows are one."""
        if self.time_emb_proj is None or temb is None:
            return None
        temb = temb[:1] if is_broadcast(temb, 0) else temb
        return self.time_emb_proj(temb if self.skip_time_act else functional.silu(temb))  # type: ignore[no-any-return]


def is_broadcast(x: Tensor, dim: int) -> bool:
    """Whether ``x`` is one value repeated along ``dim``, as its strides tell."""
    return x.stride(dim) == 0 and not torch.compiler.is_compiling()


class Conv3d(nn.Conv3d):
    """One over time alone, whose kernel is (k, 1, 1), as a convolution over the rows of ``[B C F (h w)]``."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``[B C F h w]``."""
        if weight.shape[3:] != (1, 1) or self.stride != (1, 1, 1) or self.groups != 1 or self.dilation != (1, 1, 1):
            return super()._conv_forward(input, weight, bias)  # type: ignore[no-any-return]
        flat = functional.conv2d(input.flatten(3), weight.flatten(3), bias, padding=(int(self.padding[0]), 0))
        return flat.reshape(*flat.shape[:3], *input.shape[3:])


def convolve(conv: Any, x: Tensor, added: Tensor | None) -> Tensor:
    """``conv(x)`` plus ``added``, which is ``[1 C]`` (then it joins the bias, at no cost) or ``[N C ...]``."""
    bias = conv.bias
    if added is not None and bias is not None and added.numel() == bias.numel():
        bias, added = bias + added.flatten(), None
    x = conv._conv_forward(x, conv.weight, bias)
    return x if added is None else plus_(x, added.view(*added.shape, *(1,) * (x.ndim - added.ndim)))


class SpatioTemporalResBlock(resnet.SpatioTemporalResBlock, Chunked):  # type: ignore[misc]
    """A residual block within each frame, then one over time, blended."""

    def forward(
        self,
        hidden_states: Tensor | OwnedTensors,
        temb: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
    ) -> Tensor:
        """``[B F, C, h, w]`` => a new tensor. Owned tensors are concatenated by channels, and let go."""
        if torch.is_grad_enabled() or image_only_indicator is None:
            return super().forward(hidden_states, temb, image_only_indicator)  # type: ignore[no-any-return]
        spatial = self._spatial(take(hidden_states), temb)
        num_frames = image_only_indicator.shape[-1]
        clips = split_first(spatial, num_frames).transpose(1, 2)
        if temb is not None:
            temb = temb[None] if is_broadcast(temb, 0) else split_first(temb, num_frames)
        weight = self.time_mixer.weight(clips, image_only_indicator)
        # The residual block over time gives x + h, and x + weight (x + h - x) needs no x + h.
        clips = plus_(clips, self._temporal(clips, temb), weight)
        return clips.transpose(1, 2).flatten(0, 1)

    def _spatial(self, inputs: tuple[Tensor, ...], temb: Tensor | None) -> Tensor:
        """Pictures are independent of each other, so some run at a time where many would need much memory."""
        block, count = self.spatial_res_block, len(inputs[0])
        each = sum(bytes_of(piece[0]) for piece in inputs)
        slices = list(chunks(count, 3 * each, self.max_bytes))
        if len(slices) == 1:
            return block.run(inputs, temb)  # type: ignore[no-any-return]
        out = inputs[0].new_empty(count, block.out_channels, *inputs[0].shape[2:])
        for some in slices:
            block.run(tuple(piece[some] for piece in inputs), None if temb is None else temb[some], out[some])
        return out

    def _temporal(self, x: Tensor, temb: Tensor | None) -> Tensor:
        """What the block over time adds to ``x`` ``[B C F h w]``; embeddings are ``[B F D]``."""
        block = self.temporal_res_block
        hidden = silu_(block.norm1(x))
        hidden = convolve(block.conv1, hidden, self._embedding(temb))
        hidden = silu_(block.norm2(hidden))
        return convolve(block.conv2, hidden, None)

    def _embedding(self, temb: Tensor | None) -> Tensor | None:
        """``[B F D]`` => ``[B C F]``, one for all where all are one."""
        projection = self.temporal_res_block.time_emb_proj
        if projection is None or temb is None:
            return None
        temb = temb[:, :1] if is_broadcast(temb, 1) else temb
        return projection(functional.silu(temb)).transpose(1, 2)  # type: ignore[no-any-return]


class Upsample2D(upsampling.Upsample2D, Chunked):  # type: ignore[misc]
    """Twice the size, then a convolution, some pictures at a time."""

    def forward(
        self, hidden_states: Tensor | OwnedTensors, output_size: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """``[N C h w]`` => ``[N C 2h 2w]`` (or ``output_size``)."""
        (x,) = take(hidden_states)
        if torch.is_grad_enabled():
            return super().forward(x, output_size, *args, **kwargs)  # type: ignore[no-any-return]
        slices = list(chunks(len(x), 8 * bytes_of(x[0]), self.max_bytes))
        if len(slices) == 1:
            return super().forward(x, output_size)  # type: ignore[no-any-return]
        out: Tensor | None = None
        for some in slices:
            part = super().forward(x[some], output_size)
            out = part.new_empty(len(x), *part.shape[1:]) if out is None else out
            out[some] = part
        assert out is not None
        return out


def give(module: nn.Module, *tensors: Tensor) -> Tensor | OwnedTensors:
    """``tensors`` as ``module`` takes them best: owned, or, where it is compiled, as one plain tensor."""
    if module._compiled_call_impl is None and isinstance(module, (SpatioTemporalResBlock, Upsample2D)):
        return OwnedTensors(*tensors)
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)
