"""``nano``: from photographs to a checkpoint folder, one command, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .batches import Batches, fit_autoencoder
from .cutouts import find_cutouts, load_cutout
from .export import export, with_weights
from .model import build_clip, build_unet
from .photos import find_photos
from .trainer import Progress, Recipe, Trainer

FRAMES = 14

CPU = Recipe()
GPU = Recipe(minutes=6, batch=64, native_from=0.0, learning_rate=1.5e-3, ema=0.9985, autocast=True)
RECIPES = {"cpu": CPU, "gpu": GPU}


@dataclass(frozen=True)
class Job:
    """One training run. ``held_out`` are file stems that must not be trained on."""

    recipe: Recipe
    work: Path
    photos: tuple[Path, ...]
    out: Path
    cutouts: Path | None = None
    held_out: tuple[str, ...] = ()
    processes: int = 2
    readers: int = 0
    device: str = "cpu"
    seed: int = 0


def prepare(job: Job) -> list[Path]:
    """The photographs; fits the autoencoder unless it is in the work folder."""
    paths = find_photos(job.photos, job.held_out)
    if not paths:
        raise ValueError("no photographs found: give folders of pictures with --photos")
    if not (job.work / "vae").exists():
        fit_autoencoder(paths, np.random.default_rng(job.seed)).save_pretrained(job.work / "vae")
    return paths


def train(job: Job) -> None:
    """Prepare, then train in ``job.processes`` processes that share the gradient."""
    prepare(job)
    if job.processes == 1:
        _worker(0, job)
    else:
        spawn(_worker, args=(job,), nprocs=job.processes)  # type: ignore[no-untyped-call]


@contextmanager
def _group(rank: int, job: Job) -> Iterator[None]:
    """A process group that meets in a file of the work folder."""
    if job.processes == 1:
        yield
        return
    meeting = job.work / f"meeting-{os.getppid()}"
    backend = "nccl" if job.device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting.absolute()}", rank=rank, world_size=job.processes)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _worker(rank: int, job: Job) -> None:
    if job.device == "cpu":
        torch.set_num_threads(1)
    device = torch.device(job.device, rank) if job.device == "cuda" else torch.device(job.device)
    vae = WarpAutoencoder.from_pretrained(job.work / "vae")
    torch.manual_seed(job.seed)  # the same start in every process
    unet = build_unet(vae.config.latent_channels)
    cutouts = [load_cutout(path) for path in find_cutouts(job.cutouts)]
    batches = Batches(find_photos(job.photos, job.held_out), cutouts, FRAMES, vae.patch_size)
    trainer = Trainer(unet, vae, build_clip(), batches, job.recipe, device, job.seed, rank, job.processes, job.readers)
    state = job.work / "state.pt"
    if state.exists():
        trainer.load(state)

    def save() -> None:
        torch.save(trainer.state(), state.with_suffix(".tmp"))
        state.with_suffix(".tmp").replace(state)
        export(job.out, with_weights(trainer.unet, trainer.ema), vae)

    with _group(rank, job), (job.work / f"log-{rank}.jsonl").open("a") as log:

        def report(progress: Progress, figures: dict[str, float]) -> None:
            row = {"step": progress.step, "seconds": round(progress.seconds, 1)}
            log.write(json.dumps(row | {k: round(v, 4) for k, v in figures.items()}) + "\n")
            log.flush()

        trainer.run(report, save)
