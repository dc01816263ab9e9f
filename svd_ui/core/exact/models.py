"""SVD's U-Net and temporal decoder, letting go of every tensor that no later layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.autoencoders import autoencoder_kl_temporal_decoder
from diffusers.models.unets import unet_3d_blocks, unet_spatio_temporal_condition
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionOutput
from torch import Tensor

from .ops import OwnedTensors, silu_, split_first, take
from .resnets import give


class UNetSpatioTemporalConditionModel(unet_spatio_temporal_condition.UNetSpatioTemporalConditionModel):  # type: ignore[misc]
    """The same layers in the same order; skips are used up, embeddings are not repeated for every frame."""

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        return_dict: bool = True,
    ) -> Any:
        """Latents ``[B F C h w]``, ``[B 1 D]`` and ``[B 3]`` => ``[B F C' h w]``."""
        if torch.is_grad_enabled():
            return super().forward(sample, timestep, encoder_hidden_states, added_time_ids, return_dict)
        batch, num_frames = sample.shape[:2]
        conditioning_kwargs = {
            "temb": self._embedding(sample, timestep, added_time_ids),
            "image_only_indicator": sample.new_zeros(batch, num_frames),
        }
        hidden, skips = self.conv_in(sample.flatten(0, 1)), []
        skips.append(hidden)
        for block in self.down_blocks:
            hidden, more = block(hidden, **self._kwargs_of(block, conditioning_kwargs, encoder_hidden_states))
            skips += more
        del more
        hidden = self.mid_block(hidden, **self._kwargs_of(self.mid_block, conditioning_kwargs, encoder_hidden_states))
        for block in self.up_blocks:
            remaining = len(skips) - len(block.resnets)
            size = skips[remaining - 1].shape[2:] if block.upsamplers is not None else None
            owned = OwnedTensors(*take(hidden))
            del hidden
            hidden = block(
                owned,
                res_hidden_states_tuple=skips,
                upsample_size=size,
                **self._kwargs_of(block, conditioning_kwargs, encoder_hidden_states),
            )
        hidden = self.conv_out(silu_(self.conv_norm_out(hidden))).unflatten(0, (batch, num_frames))
        return UNetSpatioTemporalConditionOutput(sample=hidden) if return_dict else (hidden,)

    def _embedding(self, sample: Tensor, timestep: Tensor | float | int, added_time_ids: Tensor) -> Tensor:
        """Noise level and micro-conditioning, ``[B F, D]``; of a single clip, as one row for all frames."""
        batch, num_frames = sample.shape[:2]
        timesteps = torch.as_tensor(timestep, device=sample.device).expand(batch)
        embedding = self.time_embedding(self.time_proj(timesteps).to(sample.dtype))
        added = self.add_time_proj(added_time_ids.flatten()).unflatten(0, (batch, -1)).flatten(1)
        embedding = embedding + self.add_embedding(added.to(embedding.dtype))
        return embedding[:, None].expand(-1, num_frames, -1).flatten(0, 1)  # type: ignore[no-any-return]

    @staticmethod
    def _kwargs_of(block: Any, conditioning_kwargs: dict[str, Tensor], contexts: Tensor) -> dict[str, Tensor]:
        crosses = getattr(block, "has_cross_attention", False)
        return {**conditioning_kwargs, "encoder_hidden_states": contexts} if crosses else conditioning_kwargs


class UpBlockSpatioTemporal(unet_3d_blocks.UpBlockSpatioTemporal):  # type: ignore[misc]
    """Residual blocks, each of which reads one skip."""

    def forward(
        self,
        hidden_states: Tensor | OwnedTensors,
        res_hidden_states_tuple: Sequence[Tensor],
        temb: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        upsample_size: Any = None,
    ) -> Tensor:
        """``[B F, C, h, w]``; skips are read from the end, and removed where they come as a list."""
        if torch.is_grad_enabled():
            return super().forward(  # type: ignore[no-any-return]
                hidden_states, res_hidden_states_tuple, temb, image_only_indicator, upsample_size
            )
        return _up_block(self, hidden_states, res_hidden_states_tuple, temb, None, image_only_indicator, upsample_size)


class CrossAttnUpBlockSpatioTemporal(unet_3d_blocks.CrossAttnUpBlockSpatioTemporal):  # type: ignore[misc]
    """The same with a transformer after each residual block."""

    def forward(
        self,
        hidden_states: Tensor | OwnedTensors,
        res_hidden_states_tuple: Sequence[Tensor],
        temb: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        upsample_size: Any = None,
    ) -> Tensor:
        """``[B F, C, h, w]``; skips are read from the end, and removed where they come as a list."""
        inputs = (temb, encoder_hidden_states, image_only_indicator, upsample_size)
        if torch.is_grad_enabled():
            return super().forward(hidden_states, res_hidden_states_tuple, *inputs)  # type: ignore[no-any-return]
        return _up_block(self, hidden_states, res_hidden_states_tuple, *inputs)


def _up_block(
    block: Any,
    hidden_states: Tensor | OwnedTensors,
    skips: Sequence[Tensor],
    temb: Tensor | None,
    contexts: Tensor | None,
    image_only_indicator: Tensor | None,
    upsample_size: Any,
) -> Tensor:
    remaining = skips if isinstance(skips, list) else list(skips)
    (hidden,) = take(hidden_states)
    for index, resnet in enumerate(block.resnets):
        owned = give(resnet, hidden, remaining.pop())
        del hidden
        hidden = resnet(owned, temb, image_only_indicator=image_only_indicator)
        if hasattr(block, "attentions"):
            (hidden,) = block.attentions[index](
                hidden,
                encoder_hidden_states=contexts,
                image_only_indicator=image_only_indicator,
                return_dict=False,
            )
    for upsampler in block.upsamplers or ():
        owned = give(upsampler, hidden)
        del hidden
        hidden = upsampler(owned, upsample_size)
    return hidden


class UpBlockTemporalDecoder(unet_3d_blocks.UpBlockTemporalDecoder):  # type: ignore[misc]
    """Residual blocks, then twice the size."""

    def forward(self, hidden_states: Tensor | OwnedTensors, image_only_indicator: Tensor) -> Tensor:
        """``[B F, C, h, w]``."""
        (hidden,) = take(hidden_states)
        del hidden_states
        if torch.is_grad_enabled():
            return super().forward(hidden, image_only_indicator)  # type: ignore[no-any-return]
        for resnet in self.resnets:
            owned = give(resnet, hidden)
            del hidden
            hidden = resnet(owned, image_only_indicator=image_only_indicator)
        for upsampler in self.upsamplers or ():
            owned = give(upsampler, hidden)
            del hidden
            hidden = upsampler(owned)
        return hidden


class TemporalDecoder(autoencoder_kl_temporal_decoder.TemporalDecoder):  # type: ignore[misc]
    """Latents to pixels."""

    def forward(self, sample: Tensor, image_only_indicator: Tensor, num_frames: int = 1) -> Tensor:
        """``[B F, c, h, w]`` => ``[B F, 3, H, W]``."""
        if torch.is_grad_enabled():
            return super().forward(sample, image_only_indicator, num_frames)  # type: ignore[no-any-return]
        hidden = self.mid_block(self.conv_in(sample), image_only_indicator=image_only_indicator)
        for block in self.up_blocks:
            owned = OwnedTensors(hidden)
            del hidden
            hidden = block(owned, image_only_indicator=image_only_indicator)
        hidden = silu_(self.conv_norm_out(hidden))
        clips = split_first(self.conv_out(hidden), num_frames).transpose(1, 2)
        del hidden
        return self.time_conv_out(clips).transpose(1, 2).flatten(0, 1)  # type: ignore[no-any-return]
