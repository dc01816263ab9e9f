"""SVD's U-Net, letting go of what no later layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.unets import unet_3d_blocks, unet_spatio_temporal_condition
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionOutput
from torch import Tensor

from .parts import Handed, taken
from .pointwise import silu_
from .resnets import hand


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
        told = {
            "temb": self._embedding(sample, timestep, added_time_ids),
            "image_only_indicator": sample.new_zeros(batch, num_frames),
        }
        hidden, skips = self.conv_in(sample.flatten(0, 1)), []
        skips.append(hidden)
        for block in self.down_blocks:
            hidden, more = block(hidden, **self._for(block, told, encoder_hidden_states))
            skips += more
        del more
        hidden = self.mid_block(hidden, **self._for(self.mid_block, told, encoder_hidden_states))
        for block in self.up_blocks:
            remaining = len(skips) - len(block.resnets)
            size = skips[remaining - 1].shape[2:] if block.upsamplers is not None else None
            handed = Handed(*taken(hidden))
            del hidden
            hidden = block(
                handed,
                res_hidden_states_tuple=skips,
                upsample_size=size,
                **self._for(block, told, encoder_hidden_states),
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
    def _for(block: Any, told: dict[str, Tensor], contexts: Tensor) -> dict[str, Tensor]:
        crosses = getattr(block, "has_cross_attention", False)
        return {**told, "encoder_hidden_states": contexts} if crosses else told


class UpBlockSpatioTemporal(unet_3d_blocks.UpBlockSpatioTemporal):  # type: ignore[misc]
    """Residual blocks, each of which reads one skip."""

    def forward(
        self,
        hidden_states: Tensor | Handed,
        res_hidden_states_tuple: Sequence[Tensor],
        temb: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        upsample_size: Any = None,
    ) -> Tensor:
        """``[B F, C, h, w]``; skips are read from the end, and taken away where they come as a list."""
        if torch.is_grad_enabled():
            stock_forward: Tensor = super().forward(
                hidden_states, res_hidden_states_tuple, temb, image_only_indicator, upsample_size
            )
            return stock_forward
        return _upwards(self, hidden_states, res_hidden_states_tuple, temb, None, image_only_indicator, upsample_size)


class CrossAttnUpBlockSpatioTemporal(unet_3d_blocks.CrossAttnUpBlockSpatioTemporal):  # type: ignore[misc]
    """The same with a transformer after each residual block."""

    def forward(
        self,
        hidden_states: Tensor | Handed,
        res_hidden_states_tuple: Sequence[Tensor],
        temb: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        upsample_size: Any = None,
    ) -> Tensor:
        """``[B F, C, h, w]``; skips are read from the end, and taken away where they come as a list."""
        told = (temb, encoder_hidden_states, image_only_indicator, upsample_size)
        if torch.is_grad_enabled():
            stock_forward: Tensor = super().forward(hidden_states, res_hidden_states_tuple, *told)
            return stock_forward
        return _upwards(self, hidden_states, res_hidden_states_tuple, *told)


def _upwards(
    block: Any,
    hidden_states: Tensor | Handed,
    skips: Sequence[Tensor],
    temb: Tensor | None,
    contexts: Tensor | None,
    image_only_indicator: Tensor | None,
    upsample_size: Any,
) -> Tensor:
    left = skips if isinstance(skips, list) else list(skips)
    (hidden,) = taken(hidden_states)
    for index, resnet in enumerate(block.resnets):
        joined = hand(resnet, hidden, left.pop())
        del hidden
        hidden = resnet(joined, temb, image_only_indicator=image_only_indicator)
        if hasattr(block, "attentions"):
            (hidden,) = block.attentions[index](
                hidden,
                encoder_hidden_states=contexts,
                image_only_indicator=image_only_indicator,
                return_dict=False,
            )
    for upsampler in block.upsamplers or ():
        given = hand(upsampler, hidden)
        del hidden
        hidden = upsampler(given, upsample_size)
    return hidden
