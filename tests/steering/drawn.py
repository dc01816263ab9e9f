"""Drawn pictures, in which it is known where everything is."""

from __future__ import annotations

import numpy as np
from PIL import Image

from svd_ui.steering.choreography import Picture, View
from svd_ui.steering.marks import Mask

WIDTH, HEIGHT = 256, 144
DISC = (90.0, 70.0, 22.0)
"""x, y and radius."""
ORANGE = (240, 120, 30)


def texture(width: int = WIDTH, height: int = HEIGHT, cells: tuple[int, int] = (18, 32)) -> Picture:
    """Bluish blotches, so many down and across, the same at any size."""
    coarse = np.random.default_rng(0).integers(40, 110, (*cells, 3), dtype=np.uint8)
    coarse[..., 2] += 60
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def disc_mask(width: int = WIDTH, height: int = HEIGHT, at: tuple[float, float, float] = DISC) -> Mask:
    """With an edge one pixel soft; ``at`` is for a picture of ``WIDTH``."""
    x, y, radius = (value * width / WIDTH for value in at)
    down, across = np.mgrid[:height, :width] + 0.5
    return np.clip(radius - np.hypot(across - x, down - y) + 0.5, 0, 1).astype(np.float32)


def with_disc(width: int = WIDTH, height: int = HEIGHT, at: tuple[float, float, float] = DISC) -> Picture:
    """An orange disc before blotches."""
    share = disc_mask(width, height, at)[..., None]
    return (texture(width, height) * (1 - share) + share * np.float32(ORANGE)).round().astype(np.uint8)


def orange(picture: Picture) -> Mask:
    """How orange each place is."""
    return np.clip((picture[..., 0].astype(np.float32) - picture[..., 2] + 30) / 200, 0, 1)


def middle(share: Mask) -> tuple[float, float]:
    """Centre of mass, x and y."""
    down, across = np.mgrid[: share.shape[0], : share.shape[1]] + 0.5
    return float((across * share).sum() / share.sum()), float((down * share).sum() / share.sum())


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum())


def view(picture: Picture, **values: object) -> View:
    """The plan's view of a whole picture."""
    known: dict[str, object] = {"seconds": 2.0, "frames": 28, "seed": 1}
    return View(Image.fromarray(picture), (0, 0, 1, 1), lambda ref: Image.new("L", (8, 8)), **{**known, **values})  # type: ignore[arg-type]
