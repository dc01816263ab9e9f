"""Photographs to train on: any folder of pictures, minus those kept for the benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LONG_SIDE = 1400


def find_photos(folders: Iterable[Path], held_out: Iterable[str] = ()) -> list[Path]:
    """All pictures under ``folders``, sorted, without those whose stem is in ``held_out``."""
    excluded = set(held_out)
    found = {p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES}
    return sorted(p for p in found if p.stem not in excluded)


def load_photo(path: Path) -> Picture:
    """RGB [H W 3], at most 1400 pixels on the long side."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} is not a picture that can be read; remove it from the folder")
    scale = LONG_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def augment(picture: Picture, rng: Generator) -> Picture:
    """Mild random changes of exposure, contrast and colour balance."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, size=3)
    table = np.clip((np.arange(256)[:, None] / 255) ** rng.uniform(0.8, 1.25) * gain * 255, 0, 255)
    channels = [cv2.LUT(np.ascontiguousarray(picture[..., c]), table[:, c].astype(np.uint8)) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def shuffled(paths: list[Path], rng: Generator) -> Iterator[Path]:
    """Every photograph equally often, in a new random order each round, without end."""
    while True:
        yield from (paths[i] for i in rng.permutation(len(paths)))
