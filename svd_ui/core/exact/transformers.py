"""The transformers of SVD's U-Net: tokens in place, in chunks, without cross-attention's needless work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models import attention as stock
from diffusers.models.activations import GEGLU
from diffusers.models.transformers import transformer_temporal
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModelOutput
from torch import Tensor, nn
from torch.nn import functional

from ..attention import Attend, sdpa
from .constants import Constants, constants
from .ops import CACHE_BYTES, Chunked, bytes_of, chunks, geglu_, plus_, split_first


class TransformerSpatioTemporalModel(transformer_temporal.TransformerSpatioTemporalModel):  # type: ignore[misc]
    """Spatial and temporal transformer blocks around tokens ``[B F, h w, C]``."""

    _constants: Constants | None = None

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """``[B F, C, h, w]`` => the same, as a new tensor."""
        if torch.is_grad_enabled() or image_only_indicator is None:
            return super().forward(hidden_states, encoder_hidden_states, image_only_indicator, return_dict)
        num_frames = image_only_indicator.shape[-1]
        clip_constants = self._clip_constants(encoder_hidden_states, len(hidden_states) // num_frames, num_frames)
        tokens = self._tokens(hidden_states)
        blocks = zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True)
        for index, (block, temporal_block) in enumerate(blocks):
            tokens = block(tokens, encoder_hidden_states=clip_constants.spatial[index])
            mix = _add_position(tokens, clip_constants.position)
            mix = temporal_block(mix, num_frames=num_frames, encoder_hidden_states=clip_constants.temporal[index])
            tokens = self.time_mixer(tokens, mix, image_only_indicator)
            del mix
        output = self._output(tokens, hidden_states)
        return TransformerTemporalModelOutput(sample=output) if return_dict else (output,)

    def _clip_constants(self, contexts: Tensor | None, batch: int, num_frames: int) -> Constants:
        """The constants of this clip, or those of ``contexts`` ``[B 1 D]`` or ``[(B F) 1 D]``."""
        if self._constants is not None and self._constants.fit(batch, num_frames):
            return self._constants
        if contexts is None or contexts.shape[1] != 1:
            raise ValueError("this U-Net attends to one embedding of the picture")
        return constants(self, contexts, contexts[:: len(contexts) // batch], num_frames)

    def _tokens(self, hidden: Tensor) -> Tensor:
        return self.proj_in(self.norm(hidden).flatten(2).transpose(1, 2).contiguous())  # type: ignore[no-any-return]

    def _output(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """Tokens ``[B F, h w, C]`` projected and added to ``residual`` ``[B F, C, h, w]``, in a new tensor."""
        output = torch.empty_like(residual, memory_format=torch.contiguous_format)
        projected = self.proj_out(tokens).transpose(1, 2)
        torch.add(residual.flatten(2), projected, out=output.flatten(2))
        return output


def _add_position(tokens: Tensor, position: Tensor) -> Tensor:
    """``position`` ``[F C]`` to every token of its frame; a new tensor."""
    return (split_first(tokens, len(position)) + position[:, None]).flatten(0, 1)


class BasicTransformerBlock(stock.BasicTransformerBlock, Chunked):  # type: ignore[misc]
    """Self-attention within each frame, then a feed-forward layer."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Tokens ``[B F, h w, C]``, which are used up, and cross-attention's outputs ``[N 1 C]``, N dividing B F."""
        if torch.is_grad_enabled() or encoder_hidden_states is None or attention_mask is not None:
            return super().forward(  # type: ignore[no-any-return]
                hidden_states, attention_mask, encoder_hidden_states, *args, **kwargs
            )
        groups = split_first(hidden_states, len(hidden_states) // len(encoder_hidden_states))
        attended = [
            self._attention(group, constant) for group, constant in zip(groups, encoder_hidden_states, strict=True)
        ]
        return add_feed_forward_(self.ff, self.norm3, join(attended, hidden_states), self.max_bytes)

    def _attention(self, frames: Tensor, constant: Tensor) -> Tensor:
        """Frames of one conditioning ``[F, h w, C]`` plus their self-attention and ``constant`` ``[1 C]``."""

        def output(some: Tensor) -> Tensor:
            return project(self.attn1, self_attention(self.attn1, self.norm1(some)), constant)

        return add_in_chunks_(frames, output, 5 * bytes_of(frames[0]), self.max_bytes)


class TemporalBasicTransformerBlock(stock.TemporalBasicTransformerBlock, Chunked):  # type: ignore[misc]
    """A feed-forward layer, self-attention of each place with itself in other frames, a feed-forward layer.

    Only attention mixes frames, so only attention sees them side by side, as strides and not as a copy.
    """

    def forward(self, hidden_states: Tensor, num_frames: int, encoder_hidden_states: Tensor | None = None) -> Tensor:
        """Tokens ``[B F, h w, C]``, which are used up, and cross-attention's outputs ``[B 1 C]``."""
        if torch.is_grad_enabled() or encoder_hidden_states is None:
            return super().forward(hidden_states, num_frames, encoder_hidden_states)  # type: ignore[no-any-return]
        hidden_states = add_feed_forward_(self.ff_in, self.norm_in, hidden_states, self.max_bytes)
        clips = split_first(hidden_states, num_frames)
        attended = [
            self._attention(clip, constant) for clip, constant in zip(clips, encoder_hidden_states, strict=True)
        ]
        return add_feed_forward_(self.ff, self.norm3, join(attended, hidden_states), self.max_bytes)

    def _attention(self, clip: Tensor, constant: Tensor) -> Tensor:
        """One clip's tokens ``[F, h w, C]`` plus their attention over frames and ``constant`` ``[1 C]``."""

        def output(places: Tensor) -> Tensor:
            mixed = self_attention(self.attn1, self.norm1(places.transpose(0, 1)), over_time=True)
            if mixed.is_contiguous():
                return project(self.attn1, mixed, constant)
            return project(self.attn1, mixed.transpose(0, 1), constant).transpose(0, 1)

        places = clip.transpose(0, 1)
        return add_in_chunks_(places, output, 5 * bytes_of(places[0]), self.max_bytes).transpose(0, 1)


def self_attention(attn: Any, tokens: Tensor, over_time: bool = False) -> Tensor:
    """Attention among ``tokens`` ``[N T C]``, before its output layer; ``over_time`` for ``[T N C]`` => ``[N T C]``."""
    attend: Attend = getattr(attn.processor, "attend", sdpa)
    heads = (attn.heads, -1)
    query, key = attn.to_q(tokens).unflatten(-1, heads), attn.to_k(tokens).unflatten(-1, heads)
    value = attn.to_v(tokens).unflatten(-1, heads)
    del tokens  # no expression with a scope of its own may read it: torch.compile cannot delete from a closure
    if over_time:
        query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
    return attend(query, key, value).flatten(2)


def project(attn: Any, tokens: Tensor, constant: Tensor) -> Tensor:
    """The output layer, and ``constant`` ``[1 C]`` with it: a bias costs nothing."""
    layer = attn.to_out[0]
    if type(layer) is nn.Linear and layer.bias is not None and layer.weight.dtype == tokens.dtype:
        return functional.linear(tokens, layer.weight, layer.bias + constant[0])
    return plus_(layer(tokens), constant)


def add_feed_forward_(ff: Any, norm: nn.Module, tokens: Tensor, max_bytes: int) -> Tensor:
    """``tokens + ff(norm(tokens))`` in place, some rows at a time."""
    if not isinstance(ff.net[0], GEGLU):
        return plus_(tokens, ff(norm(tokens)))

    def output(rows: Tensor) -> Tensor:
        value, gate = ff.net[0].proj(norm(rows)).chunk(2, dim=-1)
        return ff.net[2](geglu_(value, gate))  # type: ignore[no-any-return]

    rows = tokens.flatten(0, -2)
    hidden = ff.net[0].proj.out_features * tokens.element_size()
    if tokens.device.type == "cpu":
        max_bytes = CACHE_BYTES
    return add_in_chunks_(rows, output, hidden, max_bytes).view_as(tokens)


def add_in_chunks_(x: Tensor, output: Callable[[Tensor], Tensor], item_bytes: int, max_bytes: int) -> Tensor:
    """``x + output(x)`` in ``x``'s place; ``output`` treats rows of ``x`` alone and needs ``item_bytes`` for one."""
    slices = list(chunks(len(x), item_bytes, max_bytes))
    if len(slices) == 1:
        return plus_(x, output(x))
    for rows in slices:
        x[rows].add_(output(x[rows]))
    return x


def join(groups: list[Tensor], whole: Tensor) -> Tensor:
    """``groups`` as one tensor: ``whole``, in which they lie, or while compiling, where they do not, a new one."""
    if len(groups) == 1:
        return groups[0]
    return torch.cat(groups) if torch.compiler.is_compiling() else whole
