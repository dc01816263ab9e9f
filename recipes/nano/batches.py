"""Training clips, drawn afresh for every step: a still, and what happens in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from svd_ui.core.families.warp import NEAR_UNIT, STIR_UNIT
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder

from .autoencoder import fit
from .cutouts import Cutout, blurred, stand_in
from .motion import point_grid
from .moves import WINDS, camera, draw_fps
from .photos import Picture, augment, load_photo
from .render import choose_view, still
from .scenes import Map, Scene, Window, scene_of, stirs

STIRRING = 2.5
"""How much oftener than others a picture is drawn in which something stirs by itself."""
WITH_CUTOUTS = 0.6
"""Share of the stills in front of which things stand that were cut out of other photographs."""
OUTLINE = 2.0
"""How softly a thing stands out from what is behind it, in pixels of a scene's maps: a hard step tears the picture."""
Frame = tuple[int, int]
"""Height and width in latent cells."""


@dataclass(frozen=True)
class Drawn:
    """What a batch is made of, before any network sees it. What moves is in units of the motion that is asked for.

    stills [B 3 H W] uint8; camera [B F 5]; relief [B 2 h w]; drift [B F 2 h w]; labels [B 2] (fps, motion bucket).
    """

    stills: Tensor
    camera: Tensor
    relief: Tensor
    drift: Tensor
    labels: Tensor


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

    def __init__(self, paths: Sequence[Path], cutouts: Sequence[Cutout], frames: int, patch: int) -> None:
        self._photos = [(path.stem, load_photo(path)) for path in paths]
        shares = np.array([STIRRING if stirs(path.stem) else 1.0 for path in paths])
        self._shares = shares / shares.sum()
        self._cutouts, self._frames, self._patch = cutouts, frames, patch

    def draw(self, size: int, frame: Frame, rng: Generator) -> Drawn:
        """``size`` clips of ``frame`` cells."""
        examples = [self._example(frame, rng) for _ in range(size)]
        return Drawn(*(torch.stack(parts) for parts in zip(*examples, strict=True)))

    def _example(self, frame: Frame, rng: Generator) -> tuple[Tensor, ...]:
        """The parts of ``Drawn`` for one clip."""
        picture, scene = self._still(frame, rng)
        points = point_grid(*frame)
        nearness = scene.nearness(points).astype(np.float32)
        nearness -= nearness.mean()
        fps = draw_fps(rng)
        stirring, drift = _winds(scene, points, np.arange(self._frames) / fps, rng)
        steps = camera(rng, self._frames, nearness)
        relief = np.stack([nearness / NEAR_UNIT, stirring / STIR_UNIT])
        arrays = (steps, relief, drift, np.array([fps, rng.uniform(1, 255)]))
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return (pixels, *(torch.from_numpy(array.astype(np.float32)) for array in arrays))

    def _still(self, frame: Frame, rng: Generator) -> tuple[Picture, Scene]:
        """A view of a photograph, some with things in front of it, and what is where in it."""
        size = (frame[0] * self._patch, frame[1] * self._patch)
        stem, photo = self._photos[int(rng.choice(len(self._photos), p=self._shares))]
        view = choose_view(photo, size, rng)
        mirrored = bool(rng.random() < 0.5)
        window = view.window(size)
        window = Window(window.left, window.top, window.right, window.bottom, mirrored)
        scene = scene_of(stem, window, frame[1] / frame[0])
        picture = augment(still(view, size), rng)
        picture = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
        if not self._cutouts or rng.random() >= WITH_CUTOUTS:
            return picture, scene
        picture = blurred(picture, rng) if rng.random() < 0.6 else picture
        picture, placed = stand_in(picture, self._cutouts, rng)
        for cover, near, sways in placed:
            scene = _in_front(scene, cover, near, sways)
        return picture, scene


def _in_front(scene: Scene, cover: Map, near: float, sways: bool) -> Scene:
    """``scene`` behind something that covers ``cover`` [H W] of it."""
    map_size = next((m.shape for m in (scene.near, *scene.stirring.values()) if m is not None), None)
    height, width = map_size or (cover.shape[0] // 4, cover.shape[1] // 4)
    covered = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
    covered = np.asarray(cv2.GaussianBlur(covered, (0, 0), OUTLINE), np.float32)
    behind = np.zeros((height, width), np.float32) if scene.near is None else scene.near
    stirring = {kind: share * (1 - covered) for kind, share in scene.stirring.items()}
    if sways:
        stirring["foliage"] = np.maximum(stirring.get("foliage", np.float32(0)), covered)
    return replace(scene, near=behind * 0.6 * (1 - covered) + near * covered, stirring=stirring)


def _winds(
    scene: Scene, points: NDArray[np.floating], seconds: NDArray[np.floating], rng: Generator
) -> tuple[Map, NDArray[np.float32]]:
    """How much each cell stirs [h w], and its drift at each time [F 2 h w], which goes on beside what stirs."""
    shares = {kind: scene.share(kind, points) for kind in sorted(scene.stirring)}
    winds = {kind: WINDS[kind](rng) for kind in shares}
    stirring = np.asarray(sum(shares.values(), np.zeros(points.shape[:-1])).clip(0, 1), np.float32)
    total = sum(shares.values(), np.full(points.shape[:-1], 1e-3))
    drift = np.zeros((len(seconds), *points.shape))
    for kind, share in shares.items():
        field = np.stack([winds[kind].shift(points, float(time)) for time in seconds])
        drift += ((share + 1e-3 / len(shares)) / total)[..., None] * field
    return stirring, drift.transpose(0, 3, 1, 2).astype(np.float32)
