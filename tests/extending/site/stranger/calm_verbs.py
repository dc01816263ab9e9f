"""The other half of the family, imported when one of its checkpoints is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from svd_ui.core.families.warp import WarpVerbs
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.denoiser import Conditioning, Denoiser


class CalmVerbs(WarpVerbs):
    """Whatever the model says of the clip, half of its difference from the still is taken back."""

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        lively = super().denoiser(runtime, unet, cond)
        still = cond.image_latents * runtime.scaling_factor

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return (lively(x, sigma) + still) / 2

        return denoise
