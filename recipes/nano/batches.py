"""Training clips, drawn afresh for every step: a still, where its cells go, and crops that keep their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .autoencoder import fit
from .motion import bucket_of, mean_flow, point_grid, sources
from .moves import draw, draw_fps
from .objective import Batch
from .photos import augment, load_photo
from .render import choose_view, still
from .scenes import Window, scene_of, stirs

STIRRING = 2.5
"""How much oftener than others a picture is drawn in which something stirs by itself."""


@dataclass(frozen=True)
class Shape:
    """``frame`` (height, width) in latent cells of the whole picture, and the ``crop`` of it that is trained on."""

    frame: tuple[int, int]
    crop: tuple[int, int]


@dataclass(frozen=True)
class Example:
    """still [3 H W] in [-1, 1]; moved [F 2 h w] in pixels; label (fps, motion bucket)."""

    still: Tensor
    moved: Tensor
    label: tuple[float, float]


def to_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """[F H W 3] 0..255 => [F 3 H W] in [-1, 1]"""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def embed(frames: Tensor, clip: CLIPVisionModelWithProjection) -> Tensor:
    """First frames [B 3 H W] in [-1, 1] => CLIP embeddings [B 1 D], as the pipeline makes them."""
    small = torch.nn.functional.interpolate(frames, (224, 224), mode="bicubic", antialias=True)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None].to(small)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None].to(small)
    pixels = ((small.clamp(-1, 1) + 1) / 2 - mean) / std
    embeds: Tensor = clip(pixels).image_embeds
    return embeds[:, None]


def fit_autoencoder(paths: Sequence[Path], rng: Generator, crops: int = 8) -> WarpAutoencoder:
    """Principal components of random views of every photograph."""
    size = (288, 512)
    photos = (load_photo(path) for path in paths for _ in range(crops))
    views = [still(choose_view(photo, size, rng), size) for photo in photos]
    return fit(to_tensor(np.stack([augment(view, rng) for view in views])))


class Batches:
    """Draws batches without end; the same ``rng`` state gives the same batches."""

    def __init__(
        self, paths: Sequence[Path], vae: WarpAutoencoder, clip: CLIPVisionModelWithProjection, frames: int
    ) -> None:
        self._photos = [(path.stem, load_photo(path)) for path in paths]
        shares = np.array([STIRRING if stirs(path.stem) else 1.0 for path in paths])
        self._shares = shares / shares.sum()
        self._vae, self._clip, self._frames = vae, clip, frames

    @torch.no_grad()
    def draw(self, size: int, shape: Shape, rng: Generator) -> Batch:
        """``size`` clips of ``shape``."""
        examples = [self._example(shape.frame, rng) for _ in range(size)]
        stills = torch.stack([example.still for example in examples])
        latents = torch.stack([self._latents(example, shape, rng) for example in examples])
        labels = torch.tensor([example.label for example in examples])
        return Batch(latents * self._vae.config.scaling_factor, embed(stills, self._clip), labels)

    def _example(self, cells: tuple[int, int], rng: Generator) -> Example:
        """A clip whose motion lies within the dial's range."""
        height, width = cells
        patch = self._vae.patch_size
        size = (height * patch, width * patch)
        points = point_grid(height, width)
        while True:
            stem, photo = self._photos[int(rng.choice(len(self._photos), p=self._shares))]
            view = choose_view(photo, size, rng)
            window = view.window(size)
            mirrored = bool(rng.random() < 0.5)
            window = Window(window.left, window.top, window.right, window.bottom, mirrored)
            scene = scene_of(stem, window, width / height)
            fps = draw_fps(rng)
            seen = sources(draw(rng, points, self._frames, scene), points, self._frames, fps, scene)
            bucket = bucket_of(mean_flow(seen), fps)
            if bucket < 255:
                break
        picture = augment(still(view, size), rng)
        pixels = to_tensor(np.ascontiguousarray(picture[None, :, ::-1] if mirrored else picture[None]))[0]
        moved = (seen - points) * (max(size) / 2)
        return Example(pixels, torch.from_numpy(moved).float().permute(0, 3, 1, 2), (fps, bucket))

    def _latents(self, example: Example, shape: Shape, rng: Generator) -> Tensor:
        """[F C h w] of a random crop; its last channels keep saying where it lies in the picture."""
        whole = self._vae.encode_flow(example.still[None], example.moved)
        (h, w), (height, width) = shape.crop, shape.frame
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        crop: Tensor = whole[..., top : top + h, left : left + w]
        return crop
