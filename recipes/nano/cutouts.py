"""Things cut out of photographs, with their outlines, to stand in front of others: what is near is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .photos import Picture, augment
from .scenes import Map

LONG_SIDE = 320
SWAY = ("plants", "trees", "flowers")
"""Folders whose things stir like foliage."""


@dataclass(frozen=True)
class Cutout:
    """``picture`` RGB [H W 3] and how much of each pixel is the thing, ``cover`` [H W] in 0..1; whether it ``sways``."""

    picture: Picture
    cover: Map
    sways: bool


def find_cutouts(folder: Path | None) -> list[Path]:
    return sorted(folder.rglob("*.png")) if folder else []


def load_cutout(path: Path) -> Cutout:
    """Raises ValueError where the picture has no transparency."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError(f"{path} is not a picture with transparency; remove it from the folder")
    scale = LONG_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cover = pixels[..., 3].astype(np.float32) / 255
    picture = np.ascontiguousarray(pixels[..., 2::-1]).astype(np.uint8)
    return Cutout(picture, cover, any(name in path.parts for name in SWAY))


def blurred(frame: Picture, rng: Generator) -> Picture:
    """As a background out of focus, by any amount."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.3, 5.0)), np.uint8)


def stand_in(frame: Picture, cutouts: Sequence[Cutout], rng: Generator) -> tuple[Picture, list[tuple[Map, float, bool]]]:
    """``frame`` [H W 3] with one to three of ``cutouts`` in front, the farthest first.

    Of each: its cover over the frame [H W], its nearness 0..1 and whether it sways.
    """
    height, width = frame.shape[:2]
    sizes = sorted(rng.uniform(0.25, 1.0, size=int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))))
    placed = []
    for size in sizes:
        one = cutouts[int(rng.integers(len(cutouts)))]
        scale = size * min(height / one.cover.shape[0], width / one.cover.shape[1])
        flip = slice(None, None, int(rng.choice([-1, 1])))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shape = [max(2, round(side * scale)) for side in reversed(one.cover.shape)]
        picture = cv2.resize(augment(one.picture[:, flip], rng), shape, interpolation=method)
        cover = np.clip(cv2.resize(one.cover[:, flip], shape, interpolation=cv2.INTER_AREA), 0, 1)
        bottom = height * rng.uniform(0.6, 1.05) if rng.random() < 0.8 else rng.uniform(shape[1], height + 1)
        left, top = round(rng.uniform(-0.15, 1.15) * width - shape[0] / 2), round(bottom - shape[1])
        whole = np.zeros((height, width), np.float32)
        seen = _laid(whole, cover, left, top)
        coloured = _laid(np.zeros_like(frame), picture, left, top)
        frame = np.round(frame * (1 - seen[..., None]) + coloured * seen[..., None]).astype(np.uint8)
        placed.append((seen, 0.55 + 0.45 * size, one.sways))
    return frame, placed


def _laid(ground: NDArray[np.generic], piece: NDArray[np.generic], left: int, top: int) -> NDArray[np.generic]:
    """``piece`` on ``ground``, cut at its edges."""
    height, width = ground.shape[:2]
    bottom, right = min(top + piece.shape[0], height), min(left + piece.shape[1], width)
    y, x = max(top, 0), max(left, 0)
    if bottom > y and right > x:
        ground[y:bottom, x:right] = piece[y - top : bottom - top, x - left : right - left]
    return ground
