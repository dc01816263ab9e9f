"""One photograph under one seed: clips of it, and the figures taken of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.nano_quality.checkpoint import Clip, Nano
from benchmarks.nano_quality.labels import Mask, Polygon, mask
from benchmarks.nano_quality.measure import Labelled
from benchmarks.nano_quality.tracks import Frames

PATH_RATE, STEP_RATE = 7, 12
"""Frames a second of clips whose ways are followed, and of those whose steps are compared."""
Value = tuple[float, str]


@dataclass
class Found:
    """Figures by name, each with where it was found; strips of frames for the sheets, by method."""

    values: dict[str, list[Value]] = field(default_factory=dict)
    strips: dict[str, list[list[Frames]]] = field(default_factory=dict)

    def note(self, name: str, value: float | None, where: str) -> None:
        if value is not None:
            self.values.setdefault(name, []).append((value, where))


@dataclass
class Case:
    """``index`` counts the photographs, ``turn`` the seeds of this one."""

    nano: Nano
    name: str
    labelled: Labelled
    seed: int
    turn: int
    found: Found
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    calls: list[int] = field(default_factory=lambda: [0])

    @property
    def still(self) -> Frames:
        return self.labelled.photo.still

    @property
    def where(self) -> str:
        return f"{self.name} {self.seed}"

    def note(self, name: str, value: float | None) -> None:
        self.found.note(name, value, self.where)

    def clip(self, method: Mapping[str, Any], fps: int = PATH_RATE, seed: int | None = None) -> Clip:
        """Counts the calls of the U-Net in ``calls``."""
        self.calls[0] = 0
        values: dict[str, Any] = {"method": dict(method), "output_fps": fps}
        return self.nano.animate(self.labelled.photo, self.seed if seed is None else seed, self.pictures, **values)

    def show(self, method: str, frames: Frames, *more: Frames) -> None:
        """Put the still, four moments of ``frames`` and ``more`` on the method's sheet; only of the first seed."""
        if self.turn == 0:
            some = frames[np.linspace(0, len(frames) - 1, 4).round().astype(int)]
            self.found.strips.setdefault(method, []).append([self.still, *some, *more])

    @cached_property
    def plain(self) -> Clip:
        """What the checkpoint does when it is told nothing."""
        return self.clip({"kind": "plain"})

    def keep(self, picture: Image.Image) -> str:
        """A name for ``picture`` that a method's field takes."""
        ref = "sha256:" + hashlib.sha256(picture.tobytes()).hexdigest()
        self.pictures[ref] = picture
        return ref

    def painted(self, polygons: list[Polygon]) -> tuple[str, Mask]:
        """A mask picture over the whole photograph, and what of it is in the frame."""
        whole = self.labelled.photo.shape
        return self.keep(Image.fromarray(mask(polygons, whole, whole))), self.labelled.area(polygons)

    @property
    def alive(self) -> tuple[str, list[Polygon]]:
        """What of the photograph may stir, and the kind of it; where nothing does, what is near, else the arrow's surroundings."""
        labels = self.labelled.labels
        if labels.stirs:
            kind, polygons = next(iter(labels.stirs.items()))
            return kind, list(polygons)
        if labels.near:
            return "", list(labels.near)
        (x, y), _ = labels.drag
        return "", [[(x - 0.15, y - 0.1), (x + 0.15, y - 0.1), (x + 0.15, y + 0.1), (x - 0.15, y + 0.1)]]
