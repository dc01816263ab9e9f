"""The training loop: data parallel, timed, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNetSpatioTemporalConditionModel
from torch import Tensor

from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .autoencoder import encode_noise
from .batches import Batches, Shape
from .objective import Batch, Objective

LANDSCAPE, PORTRAIT, SQUARE = (18, 32), (32, 18), (24, 24)
WHOLE = ((LANDSCAPE, 0.7), (PORTRAIT, 0.15), (SQUARE, 0.15))
"""Frames of the native area in latent cells (h, w), with their shares."""
SMALL = (
    (Shape(LANDSCAPE, (9, 16)), 0.4),
    (Shape((9, 16), (9, 16)), 0.3),
    (Shape(PORTRAIT, (16, 9)), 0.15),
    (Shape(SQUARE, (12, 12)), 0.15),
)
"""What most steps train on: a quarter of the cells, cut out of a native frame, or a small frame whole."""


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. Batches are per process, of one shape each."""

    minutes: float = 80.0
    batch: int = 3
    native_from: float = 0.8  # share of the time after which whole native frames are used
    native_batch: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    ema: float = 0.998
    clip_norm: float = 1.0
    residual_scale: float = 0.3
    snapshot_minutes: float = 5.0
    autocast: bool = False  # bf16 arithmetic, for devices that have it


@dataclass
class Progress:
    """What a resumed run needs besides weights."""

    step: int = 0
    seconds: float = 0.0


def learning_rate(recipe: Recipe, progress: Progress) -> float:
    """Linear warm-up in steps, then a cosine over the time budget down to 2 %."""
    done = min(1.0, progress.seconds / (60 * recipe.minutes))
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate * cosine * min(1.0, (progress.step + 1) / recipe.warmup_steps)


def ema_decay(recipe: Recipe, step: int) -> float:
    """Short memory at first, so that the average does not remember the start."""
    return min(recipe.ema, (1 + step) / (10 + step))


class Trainer:
    """One process of a run. ``rank`` and ``world`` as in torch.distributed (gloo or nccl)."""

    def __init__(
        self,
        unet: UNetSpatioTemporalConditionModel,
        vae: WarpAutoencoder,
        batches: Batches,
        recipe: Recipe,
        device: torch.device,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.unet = unet.to(device).train()
        self.recipe, self.device, self.rank, self.world = recipe, device, rank, world
        self.objective = Objective(recipe.residual_scale)
        self.progress = Progress()
        self.ema = [p.detach().clone() for p in unet.parameters()]
        self._vae, self._batches = vae, batches
        self._optimizer = torch.optim.AdamW(unet.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01)
        self._rng = np.random.default_rng([seed, rank])
        self._generator = torch.Generator().manual_seed(seed * 1000 + rank)

    def run(self, report: Callable[[Progress, dict[str, float]], None], save: Callable[[], None]) -> None:
        """Train until the recipe's minutes are over; ``save`` every ``snapshot_minutes`` (rank 0)."""
        saved = self.progress.seconds
        while self.progress.seconds < 60 * self.recipe.minutes:
            began = time.monotonic()
            figures = self.step()
            self.progress.step += 1
            self.progress.seconds += self._agreed(time.monotonic() - began)
            report(self.progress, figures)
            if self.progress.seconds - saved > 60 * self.recipe.snapshot_minutes:
                saved = self.progress.seconds
                if self.rank == 0:
                    save()
        if self.rank == 0:
            save()

    def step(self) -> dict[str, float]:
        """One update on one batch per process."""
        recipe = self.recipe
        whole = self.progress.seconds >= 60 * recipe.minutes * recipe.native_from
        size = recipe.native_batch if whole else recipe.batch
        batch = self._batches.draw(size, self._shape(whole), self._rng)
        losses, sigma, still = self._losses(batch)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        norm = self._reduce()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.progress)
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list(self.unet.parameters()), 1 - ema_decay(recipe, self.progress.step))
        return {
            "loss": losses.mean().item(),
            "norm": norm,
            "sigma": sigma[0].item(),
            "first": losses[0].item(),
            "still": still[0].item(),
        }

    def _shape(self, whole: bool) -> Shape:
        shapes = [(Shape(frame, frame), share) for frame, share in WHOLE] if whole else list(SMALL)
        return shapes[int(self._rng.choice(len(shapes), p=[share for _, share in shapes]))][0]

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Losses [B], their sigmas [B] and the error of a copied still [B], for one batch with fresh noise."""
        count, generator = len(batch.latents), self._generator
        noise = torch.randn(batch.latents.shape, generator=generator)
        sigma = self.objective.draw_sigma(count, batch.latents[0, 0, 0].numel(), generator)
        strength = (-3.5 + 0.6 * torch.randn(count, generator=generator)).exp()
        strength = strength * (torch.rand(count, generator=generator) < 0.8)
        h, w = (side * self._vae.patch_size for side in batch.latents.shape[-2:])
        pixels = torch.randn((count, 3, h, w), generator=generator)
        still_noise = encode_noise(self._vae, pixels) * self._vae.config.scaling_factor
        cond = self.objective.conditioning(batch, still_noise, strength, generator)
        on = [t.to(self.device) for t in (batch.latents, batch.embeds, batch.labels)]
        cond = type(cond)(*(getattr(cond, name).to(self.device) for name in cond.__dataclass_fields__))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.autocast):
            losses = self.objective.loss(self.unet, Batch(*on), cond, sigma.to(self.device), noise.to(self.device))
        moved = (batch.latents - batch.latents[:, :1])[:, :, -2:] / self.recipe.residual_scale
        still = moved.square().mean(dim=(1, 2, 3, 4))
        return losses, sigma.to(self.device), still.to(self.device)

    def _reduce(self) -> float:
        """Average gradients over processes and clip them; returns the norm before clipping."""
        parameters = [p for p in self.unet.parameters() if p.grad is not None]
        if self.world > 1:
            flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            dist.all_reduce(flat)
            flat /= self.world
            parts = torch.split(flat, [p.numel() for p in parameters])
            for p, part in zip(parameters, parts, strict=True):
                p.grad = part.view_as(p)
        return float(torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm))

    def _agreed(self, seconds: float) -> float:
        """Rank 0's clock for all, so that every process stops at the same step."""
        if self.world == 1:
            return seconds
        clock = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        dist.broadcast(clock, 0)
        return float(clock.item())

    def state(self) -> dict[str, Any]:
        """Everything but this process's random streams beyond rank 0."""
        return {
            "unet": self.unet.state_dict(),
            "ema": self.ema,
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
            "generator": self._generator.get_state(),
            "rng": self._rng.bit_generator.state,
        }

    def load(self, path: Path) -> None:
        """Go on from ``path``, a state written by this trainer."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.unet.load_state_dict(state["unet"])
        self.ema = [e.detach().to(self.device) for e in state["ema"]]
        self._optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        if self.rank == 0:
            self._generator.set_state(state["generator"].cpu())
            self._rng.bit_generator.state = state["rng"]
        else:
            self._generator.manual_seed(self.progress.step * 1000 + self.rank)
            self._rng = np.random.default_rng([self.progress.step, self.rank])
