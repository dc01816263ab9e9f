"""Marks that people make on a still: strokes of a brush and arrows, as short texts that travel with a request.

Places are shares of the whole picture, from its left upper corner, so that marks stay where they are when the crop changes.
A stroke is ``width=0.05:0.2,0.3 0.25,0.35``, strokes have ``;`` between them; an arrow is ``0.2,0.3>0.4,0.3``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Mask = NDArray[np.float32]
"""[H W], 0 to 1."""

MOST_STROKES, MOST_POINTS, MOST_ARROWS = 200, 4000, 16
MOST_TEXT = 64_000
WIDTH = 0.06
MARK = "a mark’s place, width, angle or strength"
SMOOTH = 2
"""A mask is drawn so much larger and made smaller: its edge is soft."""


@dataclass(frozen=True)
class Stroke:
    """A line of a round brush. ``width`` is a share of the picture's longer side; ``erase`` takes away what is under it.

    ``angle`` in degrees says which way what is under it moves, 0 to the right and 90 up; None leaves it open. ``strength`` 1
    is as much as usual.
    """

    points: tuple[Point, ...]
    width: float = WIDTH
    erase: bool = False
    angle: float | None = None
    strength: float = 1.0


Arrow = tuple[Point, ...]
"""A way from its first point to its last."""


def read_strokes(text: str) -> tuple[Stroke, ...]:
    """Raises ValueError with a sentence."""
    strokes = tuple(_stroke(part) for part in _parts(text))
    if len(strokes) > MOST_STROKES or sum(len(stroke.points) for stroke in strokes) > MOST_POINTS:
        raise ValueError("there are too many strokes: clear some, or use a broader brush")
    return strokes


def written_strokes(strokes: Iterable[Stroke]) -> str:
    """As ``read_strokes`` reads them."""
    return "; ".join(f"{_said(stroke)}:{' '.join(f'{x:.4g},{y:.4g}' for x, y in stroke.points)}" for stroke in strokes)


def read_arrows(text: str) -> tuple[Arrow, ...]:
    """Raises ValueError with a sentence."""
    arrows = tuple(tuple(_point(point) for point in part.split(">")) for part in _parts(text))
    if any(len(arrow) < 2 for arrow in arrows):
        raise ValueError("an arrow goes from one place to another: 0.2,0.3>0.4,0.3")
    if len(arrows) > MOST_ARROWS or sum(map(len, arrows)) > MOST_POINTS:
        raise ValueError(f"there are too many arrows: {MOST_ARROWS} at most")
    return arrows


def written_arrows(arrows: Iterable[Arrow]) -> str:
    """As ``read_arrows`` reads them."""
    return "; ".join(">".join(f"{x:.4g},{y:.4g}" for x, y in arrow) for arrow in arrows)


def read_box(text: str) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom as shares of the picture; None for an empty text. Raises ValueError with a sentence."""
    if not text.strip():
        return None
    values = text.split(",")
    if len(values) != 4:
        raise ValueError("a box is four numbers from 0 to 1, left,top,right,bottom, such as 0.2,0.1,0.6,0.9")
    left, top, right, bottom = (number(MARK, value, 0, 1) for value in values)
    if left >= right or top >= bottom:
        raise ValueError("a box’s left is less than its right, and its top less than its bottom: 0.2,0.1,0.6,0.9")
    return left, top, right, bottom


def painted(strokes: Iterable[Stroke], width: int, height: int) -> Mask:
    """Where strokes lie on a picture drawn at that size: [height width]."""
    size = width * SMOOTH, height * SMOOTH
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        broad = max(1.0, stroke.width * max(size))
        points = [(x * size[0], y * size[1]) for x, y in stroke.points]
        fill = 0 if stroke.erase else 255
        draw.line(points, fill=fill, width=round(broad), joint="curve")
        for x, y in points:
            draw.ellipse((x - broad / 2, y - broad / 2, x + broad / 2, y + broad / 2), fill=fill)
    small = image.resize((width, height), Image.Resampling.BOX)
    mask: Mask = np.asarray(small, np.float32) / np.float32(255)
    return mask


def _said(stroke: Stroke) -> str:
    said = [f"width={stroke.width:.4g}"]
    said += ["erase=1"] if stroke.erase else []
    said += [] if stroke.angle is None else [f"angle={stroke.angle:.4g}"]
    return ",".join(said + ([] if stroke.strength == 1 else [f"strength={stroke.strength:.4g}"]))


def _stroke(part: str) -> Stroke:
    head, colon, tail = part.rpartition(":")
    said = dict(entry.split("=", 1) for entry in head.split(",") if "=" in entry) if colon else {}
    said = {name.strip(): value for name, value in said.items()}
    points = tuple(_point(point) for point in re.split(r"\s+", tail.strip()))
    angle = said.get("angle")
    return Stroke(
        points,
        width=number(MARK, said.get("width", str(WIDTH)), 0.002, 1),
        erase=said.get("erase") == "1",
        angle=None if angle is None else number(MARK, angle, -360, 360),
        strength=number(MARK, said.get("strength", "1"), 0, 4),
    )


def _parts(text: str) -> list[str]:
    if len(text) > MOST_TEXT:
        raise ValueError("there are too many marks: clear some")
    return [part.strip() for part in text.split(";") if part.strip()]


def _point(text: str) -> Point:
    x, comma, y = text.strip().partition(",")
    if not comma:
        raise ValueError(f"a place is two numbers from 0 to 1, such as 0.2,0.3, not {text.strip()[:40]!r}")
    return number(MARK, x, -0.5, 1.5), number(MARK, y, -0.5, 1.5)


def number(what: str, text: str, low: float, high: float) -> float:
    """Raises ValueError with a sentence about ``what`` it was to be."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f"{what} is a number from {low:g} to {high:g}, not {text.strip()[:40]!r}")
    return value
