"""Training clips, rendered once and kept as latents: rendering costs as much as a training step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ..core.patch_autoencoder import Painter, PatchAutoencoder, fit, latents_of
from .motion import BASE_FPS, LEADING, Motion, bucket_of, draw, draw_kind, mean_flow
from .photos import Picture, augment, load_photo, shuffled
from .render import choose_view, render

LANDSCAPE, PORTRAIT, SQUARE = (144, 256), (256, 144), (192, 192)


@dataclass(frozen=True)
class ClipSet:
    """Clips of one size. latents [N F C h w] float16 (a memory map), labels [N 2] (fps, bucket)."""

    latents: NDArray[np.float16]
    labels: NDArray[np.float32]

    @cached_property
    def usable(self) -> NDArray[np.intp]:
        """Indices of the clips whose motion lies within the dial's range."""
        return np.flatnonzero(self.labels[:, 1] < 255)


def to_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """[F H W 3] 0..255 => [F 3 H W] in [-1, 1]"""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_autoencoder(paths: Sequence[Path], rng: Generator, crops: int = 6) -> PatchAutoencoder:
    """Principal components of random views of every photograph, painted by least squares."""
    views = []
    for path in paths:
        photo = load_photo(path)
        for _ in range(crops):
            view = choose_view(augment(photo, rng), LANDSCAPE, rng)
            views.append(render(view, Motion(), LANDSCAPE, 1, 7.0)[0])
    pictures = to_tensor(np.stack(views))
    model = fit(pictures)
    painter = Painter(model)
    for latents, picture in zip(latents_of(model, pictures), pictures, strict=True):
        painter.add(latents[None], picture[None])
    painter.solve()
    return model


def render_clip(
    photo: Picture, size: tuple[int, int], frames: int, rng: Generator
) -> tuple[NDArray[np.uint8], float, float]:
    """One clip with its label: frames [F H W 3], fps, motion bucket by measured flow.

    At 7 fps the camera always drifts; other motions come at other rates, so that at the usual rate the
    network need not hedge between them.
    """
    kind = draw_kind(rng)
    fps = BASE_FPS if kind == LEADING and rng.random() < 0.75 else other_rate(rng)
    motion = draw(rng, size, frames, fps, kind)
    view = choose_view(augment(photo, rng), size, rng)
    return render(view, motion, size, frames, fps), fps, bucket_of(mean_flow(motion, size, frames, fps), fps)


def other_rate(rng: Generator) -> float:
    """5 .. 15 frames per second, but not 7."""
    return float(rng.choice([rate for rate in range(5, 16) if rate != BASE_FPS]))


def write_cache(
    folder: Path, paths: list[Path], vae: PatchAutoencoder, size: tuple[int, int], count: int, frames: int, seed: int
) -> None:
    """Render ``count`` clips into ``folder``; returns at once if they are there."""
    done = folder / "labels.npy"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    photos = {path: load_photo(path) for path in paths}
    shape = (count, frames, vae.config.latent_channels, size[0] // 8, size[1] // 8)
    latents = np.lib.format.open_memmap(folder / "latents.npy", mode="w+", dtype=np.float16, shape=shape)
    labels = np.zeros((count, 2), np.float32)
    for index, path in zip(range(count), shuffled(paths, rng), strict=False):
        clip, fps, bucket = render_clip(photos[path], size, frames, rng)
        latents[index] = latents_of(vae, to_tensor(clip)).numpy()
        labels[index] = fps, bucket
    latents.flush()
    (folder / "cache.json").write_text(json.dumps({"seed": seed, "photos": [p.name for p in paths]}))
    np.save(done, labels)


def read_cache(folder: Path) -> ClipSet:
    return ClipSet(np.load(folder / "latents.npy", mmap_mode="r"), np.load(folder / "labels.npy"))
