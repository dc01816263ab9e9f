"""What a control method gets to work with: the model's verbs, bound to one clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import Cancelled
from ...events import CancelToken
from ..conditioning import encode
from ..decode import decode_pixels
from ..exact import CrossConstants
from ..runtime import Runtime
from .denoiser import Conditioning, Denoiser, Pair, concatenated, in_turn, residual, svd_denoiser, together
from .feature_cache import CachedUNet, FeatureCache
from .sigmas import Generators, gaussian


@dataclass(frozen=True)
class Services:
    """``runtime`` and the still's ``conditioning``; everything else follows.

    Sigmas and latents are those of the outside (scaled latents), whatever form the checkpoint has.
    ``reuse`` is where this clip keeps features between steps; None computes all of them at every step.
    """

    runtime: Runtime
    conditioning: Conditioning
    reuse: FeatureCache | None = None

    def sigmas(self, num_inference_steps: int) -> Tensor:
        """The checkpoint's schedule ``[num_inference_steps + 1]``, ending in 0."""
        return self.runtime.sigmas(num_inference_steps)

    def start(self, num_inference_steps: int, generator: Generators) -> Tensor:
        """Pure noise to begin at the first sigma, ``[B F C h w]`` float32; draws from ``generator``.

        A residual checkpoint's noise lies around the still: what it diffuses is the difference, of mean zero.
        """
        shape = self.conditioning.image_latents.shape
        x = gaussian(shape, generator) * self.runtime.initial_scale(self.sigmas(num_inference_steps))
        x = x.to(self.runtime.device)
        return x + self.still if self._is_residual else x

    def conditional(self, cancel: CancelToken) -> Denoiser:
        """The model told about the still. ``cancel`` is checked before every call of the U-Net."""
        return self._denoiser(self.conditioning, cancel)

    def pair(self, cancel: CancelToken) -> Pair:
        """The model with and without the still, in turn or in one batch as the profile says."""
        without = self.unconditioning
        if self.runtime.profile.guidance_in_turn:
            return in_turn(self.conditional(cancel), self._denoiser(without, cancel))
        return together(self._denoiser(concatenated(self.conditioning, without), cancel))

    @property
    def unconditioning(self) -> Conditioning:
        """What stands for "no still". A residual checkpoint keeps the latents its estimate is added to."""
        if self._is_residual:
            return replace(self.conditioning, image_embeds=torch.zeros_like(self.conditioning.image_embeds))
        return self.conditioning.unconditional()

    @property
    def still(self) -> Tensor:
        """The still repeated over the frames, ``[B F C h w]`` in scaled latents."""
        return self.conditioning.image_latents * self.runtime.scaling_factor

    def encode(self, pixels: Tensor) -> Tensor:
        """Frames ``[N 3 H W]`` in [-1, 1] => scaled latents ``[N C h w]``."""
        return encode(self.runtime, pixels) * self.runtime.scaling_factor

    def decode(self, latents: Tensor, still: Tensor) -> Tensor:
        """Scaled latents of one stretch of frames ``[N C h w]`` => pixels ``[N 3 H W]`` in [-1, 1], float32.

        ``still`` ``[1 3 H W]`` in [-1, 1] is the picture behind ``conditioning``; some autoencoders look at it.
        """
        return decode_pixels(self.runtime, latents, still)

    @property
    def _is_residual(self) -> bool:
        return self.runtime.row.form == "residual"

    def _denoiser(self, cond: Conditioning, cancel: CancelToken) -> Denoiser:
        unet = self.runtime.unet
        if self.reuse is not None:
            unet = CachedUNet(unet, self.reuse, slot=id(cond))
        if self.runtime.plan.exact:
            unet = self._with_constants(unet, cond)
        unet = partial(_call_unless_cancelled, unet, cancel)
        inner = svd_denoiser(unet, cond, self.runtime.plan.dtype)
        return self._outward(inner, cond) if self._is_residual else inner

    def _with_constants(self, unet: Callable[..., Any], cond: Conditioning) -> Callable[..., Any]:
        """``unet`` given what is the same in all steps of this clip."""
        embeds = cond.image_embeds.to(self.runtime.device, self.runtime.plan.dtype)
        constants = CrossConstants(self.runtime.unet, embeds, num_frames=cond.image_latents.shape[1])

        def call(*args: Any, **kwargs: Any) -> Any:
            with constants.use():
                return unet(*args, **kwargs)

        return call

    def _outward(self, inner: Denoiser, cond: Conditioning) -> Denoiser:
        still = cond.image_latents * self.runtime.scaling_factor
        return residual(inner, still, self.runtime.row.residual_scale, self.runtime.held)


def _call_unless_cancelled(unet: Callable[..., Any], cancel: CancelToken, *args: Any, **kwargs: Any) -> Any:
    if cancel.is_set():
        raise Cancelled()
    return unet(*args, **kwargs)
