"""What is where in a photograph: the parts that stir by themselves, and what stands in front.

``scenes.json`` beside this file describes the pictures nano was trained on, by file stem, with polygons in shares of
width and height. A picture that is not in it trains camera moves only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Points = NDArray[np.floating[Any]]
LONG_SIDE = 128
"""Of the maps a scene is kept in: motion is smooth, so they may be coarse."""
SOFT_EDGE, NEAR_EDGE = 0.16, 0.10
"""How far inside its outline a part stirs fully, and how wide the step in depth is, in halves of the longer side."""


@dataclass(frozen=True)
class Window:
    """The part of a photograph that a frame shows: left, top, right, bottom in its shares; mirrored or not."""

    left: float
    top: float
    right: float
    bottom: float
    mirrored: bool = False

    def place(self, points: Points) -> Points:
        """Points [N 2] in shares of the photograph => in shares of the frame."""
        x = (points[:, 0] - self.left) / (self.right - self.left)
        y = (points[:, 1] - self.top) / (self.bottom - self.top)
        return np.stack([1 - x if self.mirrored else x, y], axis=-1)


@dataclass(frozen=True)
class Scene:
    """Maps [h w] over a frame with values 0..1: ``near`` (1: the nearest) and, by kind, ``stirring``."""

    near: Map | None = None
    stirring: Mapping[str, Map] = field(default_factory=dict)

    def nearness(self, points: Points) -> Points:
        """0..1 at points [... 2] in halves of the longer side from the middle."""
        return look_up(self.near, points)

    def share(self, kind: str, points: Points) -> Points:
        """How much of the wind of ``kind`` acts at the points, 0..1."""
        return look_up(self.stirring.get(kind), points)


NOTHING = Scene()


def look_up(values: Map | None, points: Points) -> Points:
    """``values`` at points [... 2], bilinearly, the outermost going on for ever; zeros without a map."""
    if values is None:
        return np.zeros(points.shape[:-1], points.dtype)
    height, width = values.shape
    half = max(height, width) / 2
    flat = points.reshape(-1, points.shape[-2], 2).astype(np.float32)
    x, y = flat[..., 0] * half + width / 2 - 0.5, flat[..., 1] * half + height / 2 - 0.5
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, points.dtype).reshape(points.shape[:-1])


@cache
def known() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((Path(__file__).parent / "scenes.json").read_text("utf-8"))
    return found


def stirs(stem: str) -> bool:
    """Whether anything in the picture moves by itself."""
    return bool(known().get(stem, {}).get("moving"))


def scene_of(stem: str, window: Window, aspect: float) -> Scene:
    """What ``window`` shows of the picture called ``stem``; ``aspect`` is the frame's width over height."""
    about = known().get(stem)
    if about is None:
        return NOTHING
    size = (LONG_SIDE, round(LONG_SIDE / aspect)) if aspect >= 1 else (round(LONG_SIDE * aspect), LONG_SIDE)
    stirring: dict[str, Map] = {}
    for part in about["moving"]:
        soft = _softened(_filled([part["polygon"]], window, size))
        stirring[part["kind"]] = np.maximum(soft, stirring.get(part["kind"], np.float32(0)))
    return Scene(_depth(about, window, size), {k: v for k, v in stirring.items() if v.mean() > 0.02})


def _filled(polygons: list[Any], window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(size[::-1], np.uint8)
    for polygon in polygons:
        corners = window.place(np.array(polygon, np.float64)) * np.array(size)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask


def _softened(mask: NDArray[np.uint8]) -> Map:
    """0 at the outline, rising smoothly to 1 inside; the frame's own edge is no outline."""
    grown = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(grown, cv2.DIST_L2, 5)[1:-1, 1:-1] / (LONG_SIDE / 2)
    share = np.clip(depth / SOFT_EDGE, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _depth(about: Mapping[str, Any], window: Window, size: tuple[int, int]) -> Map | None:
    """A ground that comes nearer below the horizon, and the subject in front of it."""
    width, height = size
    depth = np.zeros((height, width), np.float32)
    if about.get("horizon") is not None:
        ((_, top),) = window.place(np.array([[0.5, about["horizon"]]]))
        rows = (np.arange(height) + 0.5) / height
        depth += np.clip((rows - top) / max(1.2 - top, 0.2), 0, 0.7).astype(np.float32)[:, None]
    if about["near"]:
        depth = np.maximum(depth, _filled(about["near"], window, size).astype(np.float32))
    if not depth.any():
        return None
    spread = NEAR_EDGE / 2 * LONG_SIDE / 2
    return np.asarray(cv2.GaussianBlur(depth, (0, 0), spread, borderType=cv2.BORDER_REPLICATE), np.float32)
