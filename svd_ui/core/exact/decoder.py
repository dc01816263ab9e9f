"""The temporal decoder of SVD's autoencoder, letting go of every input as soon as it is used."""

from __future__ import annotations

import torch
from diffusers.models.autoencoders import autoencoder_kl_temporal_decoder
from diffusers.models.unets import unet_3d_blocks
from torch import Tensor

from .parts import Handed, split_first, taken
from .pointwise import silu_
from .resnets import hand


class UpBlockTemporalDecoder(unet_3d_blocks.UpBlockTemporalDecoder):  # type: ignore[misc]
    """Residual blocks, then twice the size."""

    def forward(self, hidden_states: Tensor | Handed, image_only_indicator: Tensor) -> Tensor:
        """``[B F, C, h, w]``."""
        (hidden,) = taken(hidden_states)
        del hidden_states
        if torch.is_grad_enabled():
            stock_forward: Tensor = super().forward(hidden, image_only_indicator)
            return stock_forward
        for resnet in self.resnets:
            given = hand(resnet, hidden)
            del hidden
            hidden = resnet(given, image_only_indicator=image_only_indicator)
        for upsampler in self.upsamplers or ():
            given = hand(upsampler, hidden)
            del hidden
            hidden = upsampler(given)
        return hidden


class TemporalDecoder(autoencoder_kl_temporal_decoder.TemporalDecoder):  # type: ignore[misc]
    """Latents to pixels."""

    def forward(self, sample: Tensor, image_only_indicator: Tensor, num_frames: int = 1) -> Tensor:
        """``[B F, c, h, w]`` => ``[B F, 3, H, W]``."""
        if torch.is_grad_enabled():
            stock_forward: Tensor = super().forward(sample, image_only_indicator, num_frames)
            return stock_forward
        hidden = self.mid_block(self.conv_in(sample), image_only_indicator=image_only_indicator)
        for block in self.up_blocks:
            handed = Handed(hidden)
            del hidden
            hidden = block(handed, image_only_indicator=image_only_indicator)
        hidden = silu_(self.conv_norm_out(hidden))
        clips = split_first(self.conv_out(hidden), num_frames).transpose(1, 2)
        del hidden
        return self.time_conv_out(clips).transpose(1, 2).flatten(0, 1)  # type: ignore[no-any-return]
