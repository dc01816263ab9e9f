"""What is where in the ten photographs, by hand: ``benchmarks/data/labels.json``, polygons in shares of the picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Polygon = Sequence[Sequence[float]]
FILE = Path(__file__).resolve().parent.parent / "data" / "labels.json"
EDGE = 6
"""Pixels of a label's edge that count for neither side: points there see both."""


@dataclass(frozen=True)
class Labels:
    """Layers of clear depth, where there are any, the parts that stir by themselves, by kind, and an arrow on a thing."""

    near: Sequence[Polygon] = ()
    far: Sequence[Polygon] = ()
    stirs: Mapping[str, Sequence[Polygon]] = field(default_factory=dict)
    drag: Polygon = ()

    @property
    def deep(self) -> bool:
        return bool(self.near and self.far)

    @property
    def stirring(self) -> list[Polygon]:
        return [polygon for polygons in self.stirs.values() for polygon in polygons]


def labels() -> dict[str, Labels]:
    """By file stem."""
    known: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))
    return {stem: Labels(**given) for stem, given in known.items()}


def mask(polygons: Sequence[Polygon], photo: tuple[int, int], size: tuple[int, int]) -> Mask:
    """255 inside ``polygons`` on the frame of ``size`` that shows the middle of a photograph of ``photo`` (height, width)."""
    span = min(photo[0] / size[0], photo[1] / size[1])
    drawn = np.zeros(size, np.uint8)
    for polygon in polygons:
        corners = (np.array(polygon) - 0.5) * np.array(photo[::-1]) / span + np.array(size[::-1]) / 2
        cv2.fillPoly(drawn, [corners.round().astype(np.int32)], (255,))
    return drawn


def inner(area: Mask) -> Mask:
    """``area`` without its edge; frame borders stay."""
    kernel = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    return np.asarray(cv2.erode(area, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)


def outside(area: Mask) -> Mask:
    """All that is clear of ``area``."""
    return inner(np.asarray(255 - area, np.uint8))
