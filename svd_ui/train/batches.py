"""Batches from cached clips: crops that keep their place in the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from ..core.patch_autoencoder import PatchAutoencoder
from .cache import ClipSet
from .objective import Batch


def embed(frames: Tensor, clip: CLIPVisionModelWithProjection) -> Tensor:
    """First frames [B 3 H W] in [-1, 1] => CLIP embeddings [B 1 D], as the pipeline makes them."""
    small = torch.nn.functional.interpolate(frames, (224, 224), mode="bicubic", antialias=True)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None].to(small)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None].to(small)
    pixels = ((small.clamp(-1, 1) + 1) / 2 - mean) / std
    embeds: Tensor = clip(pixels).image_embeds
    return embeds[:, None]


class Batches:
    """Draws batches without end; the same ``rng`` state gives the same batches."""

    def __init__(self, sets: Sequence[ClipSet], vae: PatchAutoencoder, clip: CLIPVisionModelWithProjection) -> None:
        self._sets = [s for s in sets if len(s.usable)]
        self._vae = vae
        self._clip = clip

    def draw(self, size: int, crop: tuple[int, int] | None, rng: Generator) -> Batch:
        """``crop`` (h, w) in latent cells; None = whole frames, all of one set."""
        shares = np.array([len(s.usable) for s in self._sets], dtype=float)
        order = rng.choice(len(self._sets), size, p=shares / shares.sum())
        chosen = [self._sets[order[0] if crop is None else index] for index in order]
        picks = [int(rng.choice(s.usable)) for s in chosen]
        whole = [torch.from_numpy(np.asarray(s.latents[i], np.float32)) for s, i in zip(chosen, picks, strict=True)]
        stills = torch.cat([self._embed(z) for z in whole])
        cut = [z if crop is None else _cut(z, crop, rng) for z in whole]
        labels = torch.from_numpy(np.stack([s.labels[i] for s, i in zip(chosen, picks, strict=True)]))
        scale = self._vae.config.scaling_factor
        return Batch(torch.stack(cut) * scale, stills, labels)

    @torch.no_grad()
    def _embed(self, z: Tensor) -> Tensor:
        return embed(self._vae.decode(z[:1]).sample, self._clip)  # type: ignore[union-attr]


def _cut(z: Tensor, crop: tuple[int, int], rng: Generator) -> Tensor:
    """A window of z [F C h w]; its position channels keep saying where it lies in the picture."""
    (h, w), (height, width) = crop, z.shape[-2:]
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return z[..., top : top + h, left : left + w]
