"""The last step of training: teach the linear decoder what the U-Net's clips look like."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNetSpatioTemporalConditionModel
from numpy.random import Generator
from torch import Tensor

from ..core.denoiser import Conditioning, residual, svd_denoiser
from ..core.loop import euler
from ..core.patch_autoencoder import PatchAutoencoder, latents_of
from ..core.schedule import karras
from .batches import embed
from .cache import LANDSCAPE, to_tensor
from .export import SIGMA_MAX, SIGMA_MIN
from .model import build_clip
from .motion import BASE_FPS, FULL_FLOW, KINDS, at_flow, bucket_of, mean_flow
from .photos import augment, load_photo
from .render import choose_view, render

STEADINESS = 8.0
"""What a difference along the motion costs beside a difference from the photograph."""


@dataclass(frozen=True)
class Drift:
    """frames [F 3 H W] in [-1, 1]; their latents [F C h w], clean and as the U-Net samples them; pixels per frame."""

    frames: Tensor
    clean: Tensor
    sampled: Tensor
    flow: float


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
def sampled_drifts(
    vae: PatchAutoencoder,
    unet: UNetSpatioTemporalConditionModel,
    paths: Sequence[Path],
    residual_scale: float,
    clips: int = 56,
    seed: int = 0,
) -> list[Drift]:
    """Drifts over training photographs with what the sampler makes of their first frames, in three steps."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    encoder, schedule = build_clip(), karras(3, SIGMA_MIN, SIGMA_MAX)
    drifts = []
    for index in range(clips):
        frames, bucket = drifting_clip(paths[index % len(paths)], 14, rng)
        z = latents_of(vae, frames)
        cond = Conditioning(
            image_embeds=embed(frames[:1], encoder),
            image_latents=z[None, :1].expand(1, *z.shape),
            added_time_ids=torch.tensor([[BASE_FPS - 1, bucket, 0.0]]),
        )
        sampled = sample(unet, cond, residual_scale, schedule, generator)
        drifts.append(Drift(frames, z, sampled, bucket / 255 * FULL_FLOW))
    return drifts


def unsteadiness(frames: Tensor, flow: float) -> Tensor:
    """Mean difference of consecutive frames [F 3 H W] after undoing a drift to the left by ``flow`` < 1 pixels."""
    moved = (1 - flow) * frames[:-1, ..., :-1] + flow * frames[:-1, ..., 1:]
    return ((frames[1:, ..., :-1] - moved).square() + 1e-5).sqrt().mean()


def refine(
    vae: PatchAutoencoder, drifts: Sequence[Drift], steps: int = 3000, rate: float = 4e-4, seed: int = 0
) -> PatchAutoencoder:
    """Train the painting half of ``vae``: true to the photograph, and steady along the motion."""
    model: PatchAutoencoder = with_hidden(vae, seed)
    parameters = [*model.painting_parameters()]
    optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.98))
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        drift = drifts[int(rng.integers(len(drifts)))]
        start = int(rng.integers(len(drift.frames) - 5))
        z = (drift.clean if rng.random() < 0.5 else drift.sampled)[start : start + 6]
        painted = model.paint(z, num_frames=6)
        error = ((painted - drift.frames[start : start + 6]).square() + 1e-4).sqrt().mean()
        (error + STEADINESS * unsteadiness(painted, drift.flow)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    model.synthesis.requires_grad_(False)
    model.requires_grad_(False)
    return model


def with_hidden(vae: PatchAutoencoder, seed: int, hidden: int = 96) -> PatchAutoencoder:
    """A copy of ``vae`` with the hidden layer, which changes nothing yet."""
    if vae.config.hidden:
        return copy.deepcopy(vae)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PatchAutoencoder = PatchAutoencoder.from_config({**vae.config, "hidden": hidden})
    model.load_state_dict(vae.state_dict(), strict=False)
    return model
