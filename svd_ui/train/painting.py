"""The last step of training: teach the linear decoder what the U-Net's clips look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import UNetSpatioTemporalConditionModel
from numpy.random import Generator
from torch import Tensor

from ..core.denoiser import Conditioning, residual, svd_denoiser
from ..core.loop import euler
from ..core.patch_autoencoder import Painter, PatchAutoencoder, latents_of
from ..core.schedule import karras
from .batches import embed
from .cache import LANDSCAPE, to_tensor
from .export import SIGMA_MAX, SIGMA_MIN
from .model import build_clip
from .motion import BASE_FPS, FULL_FLOW, KINDS, at_flow, bucket_of, mean_flow
from .photos import augment, load_photo
from .render import choose_view, render

SAMPLED_WEIGHT = 3.0
"""How much a sampled clip counts beside the clean latents of the same frames."""


def sample(
    unet: UNetSpatioTemporalConditionModel, cond: Conditioning, scale: float, sigmas: Tensor, generator: torch.Generator
) -> Tensor:
    """Scaled latents [F C h w] of one clip, drawn as the app draws them."""
    x = torch.randn(cond.image_latents.shape, generator=generator) * sigmas[0]
    denoiser = residual(svd_denoiser(unet, cond, torch.float32), cond.image_latents, scale)
    for step in euler(denoiser, x, sigmas):
        x = step.latents
    return x[0]


def drifting_clip(path: Path, frames: int, rng: Generator) -> tuple[Tensor, float]:
    """A rendered drift, [F 3 H W] in [-1, 1], and its motion bucket."""
    flow = rng.uniform(0.05, 1.0) * FULL_FLOW
    motion = at_flow(KINDS["drift"][1](rng), flow, LANDSCAPE, frames, BASE_FPS)
    view = choose_view(augment(load_photo(path), rng), LANDSCAPE, rng)
    clip = to_tensor(render(view, motion, LANDSCAPE, frames, BASE_FPS))
    return clip, bucket_of(mean_flow(motion, LANDSCAPE, frames, BASE_FPS), BASE_FPS)


@torch.no_grad()
def repaint(
    vae: PatchAutoencoder,
    unet: UNetSpatioTemporalConditionModel,
    paths: Sequence[Path],
    residual_scale: float,
    sigmas: tuple[int, float, float] = (3, SIGMA_MIN, SIGMA_MAX),
    clips: int = 56,
    seed: int = 0,
) -> None:
    """Refit ``vae.synthesis`` on clips of training photographs, clean and as ``unet`` samples them.

    ``sigmas``: steps, lowest and highest noise of the sampler.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    painter, encoder = Painter(vae), build_clip()
    schedule = karras(*sigmas)
    for index in range(clips):
        frames, bucket = drifting_clip(paths[index % len(paths)], 14, rng)
        z = latents_of(vae, frames)
        painter.add(z, frames)
        cond = Conditioning(
            image_embeds=embed(frames[:1], encoder),
            image_latents=z[None, :1].expand(1, *z.shape),
            added_time_ids=torch.tensor([[BASE_FPS - 1, bucket, 0.0]]),
        )
        painter.add(sample(unet, cond, residual_scale, schedule, generator), frames, SAMPLED_WEIGHT)
    painter.solve()
