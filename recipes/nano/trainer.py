"""The training loop: data parallel, timed, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNetSpatioTemporalConditionModel
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import CLIPVisionModelWithProjection

from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .autoencoder import encode_noise
from .batches import Batches, Drawn, Frame, embed
from .objective import Batch, Objective

WHOLE: tuple[tuple[Frame, float], ...] = (
    ((18, 32), 0.4), ((20, 30), 0.12), ((21, 28), 0.12), ((24, 24), 0.12),
    ((28, 21), 0.08), ((30, 20), 0.08), ((32, 18), 0.08),
)  # fmt: skip
"""Frames of the native area in latent cells (h, w), with their shares."""
SMALL: tuple[tuple[Frame, float], ...] = (((9, 16), 0.6), ((12, 12), 0.2), ((16, 9), 0.2))
"""What is trained on first where time is short: a quarter of the cells."""


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. Batches are per process, of one shape each."""

    minutes: float = 100.0
    batch: int = 6
    native_from: float = 0.7  # share of the time after which whole native frames are used
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    ema: float = 0.998
    clip_norm: float = 1.0
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


class Stream(IterableDataset[Drawn]):
    """Batches without end, in as many processes as read it: each has a random stream of its own."""

    def __init__(self, batches: Batches, recipe: Recipe, progress: Progress, seed: list[int]) -> None:
        self._batches, self._recipe, self._progress, self._seed = batches, recipe, progress, seed

    def __iter__(self) -> Iterator[Drawn]:
        info = get_worker_info()
        if info is not None:
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
        rng = np.random.default_rng([*self._seed, self._progress.step, info.id if info else 0])
        while True:
            yield self._batches.draw(*self._next(rng), rng)

    def _next(self, rng: Generator) -> tuple[int, Frame]:
        """How many clips of what shape."""
        recipe = self._recipe
        whole = self._progress.seconds >= 60 * recipe.minutes * recipe.native_from
        shapes = WHOLE if whole else SMALL
        frame = shapes[int(rng.choice(len(shapes), p=[share for _, share in shapes]))][0]
        return (max(1, recipe.batch // 4) if whole and recipe.native_from else recipe.batch), frame


class Trainer:
    """One process of a run. ``rank`` and ``world`` as in torch.distributed (gloo or nccl)."""

    def __init__(
        self,
        unet: UNetSpatioTemporalConditionModel,
        vae: WarpAutoencoder,
        clip: CLIPVisionModelWithProjection,
        batches: Batches,
        recipe: Recipe,
        device: torch.device,
        seed: int,
        rank: int = 0,
        world: int = 1,
        readers: int = 0,
    ) -> None:
        self.unet = unet.to(device).train()
        self.recipe, self.device, self.rank, self.world = recipe, device, rank, world
        self.objective = Objective()
        self.progress = Progress()
        self.ema = [p.detach().clone() for p in unet.parameters()]
        self._vae, self._clip, self._batches, self._seed = vae.to(device), clip.to(device), batches, seed
        self._optimizer = torch.optim.AdamW(unet.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01)
        self._generator = torch.Generator(device).manual_seed(seed * 1000 + rank)
        self._readers = readers
        self._stream: Iterator[Drawn] | None = None

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
        losses, sigma = self._losses(next(self._drawn()))
        total = torch.stack([*losses.values()]).sum(dim=0)
        total.mean().backward()  # type: ignore[no-untyped-call]
        norm = self._reduce()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.progress)
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list(self.unet.parameters()), 1 - ema_decay(recipe, self.progress.step))
        means = torch.stack([loss.mean() for loss in losses.values()]).tolist()
        return {"loss": sum(means), "norm": norm, **dict(zip(losses, means, strict=True)), "sigma": sigma[0].item()}

    def _drawn(self) -> Iterator[Drawn]:
        """The stream of batches, begun where the run is when it is first asked for."""
        if self._stream is None:
            stream = Stream(self._batches, self.recipe, self.progress, [self._seed, self.rank])
            ahead = {"prefetch_factor": 4} if self._readers else {}
            self._stream = iter(DataLoader(stream, batch_size=None, num_workers=self._readers, **ahead))
        return self._stream

    def _losses(self, drawn: Drawn) -> tuple[dict[str, Tensor], Tensor]:
        """Losses [B] by part and their sigmas [B], for one batch with fresh noise."""
        batch = self._batch(drawn)
        count, generator, device = len(batch.stills), self._generator, self.device

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=device)

        def share() -> Tensor:
            return torch.rand(count, generator=generator, device=device)

        sigma = self.objective.draw_sigma(share(), share())
        strength = (-3.5 + 0.6 * normal(count)).exp() * (share() < 0.8)
        still_noise = encode_noise(self._vae, normal(*drawn.stills.shape)) * self._vae.config.scaling_factor
        keep = (share() >= self.objective.dropout).float()
        cond = self.objective.conditioning(batch, still_noise, strength, keep)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.recipe.autocast):
            return self.objective.loss(self.unet, batch, cond, sigma, normal(*batch.told.shape)), sigma

    @torch.no_grad()
    def _batch(self, drawn: Drawn) -> Batch:
        """What was drawn, on the device, as latents."""
        stills, camera, relief, drift, labels = (
            value.to(self.device, non_blocking=True)
            for value in (drawn.stills, drawn.camera, drawn.relief, drawn.drift, drawn.labels)
        )
        pixels = stills.float() / 127.5 - 1
        frames, cells = camera.shape[1], drift.shape[-2:]
        told = [
            camera[..., None, None].expand(*camera.shape, *cells),
            relief[:, None].expand(-1, frames, -1, -1, -1),
            drift,
        ]
        latents = self._vae.encode(pixels).latent_dist.mode() * self._vae.config.scaling_factor  # type: ignore[union-attr]
        return Batch(latents, torch.cat(told, dim=2), embed(pixels, self._clip), labels)

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
        """Everything but where the streams of clips are: a run that goes on draws others."""
        return {
            "unet": self.unet.state_dict(),
            "ema": self.ema,
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
            "generator": self._generator.get_state(),
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
        else:
            self._generator.manual_seed(self.progress.step * 1000 + self.rank)
