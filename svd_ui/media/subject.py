"""What a picture is of, and where a crop is best put: faces first, else what stands out. Looked for in a small copy.

What stands out is by two measures, each of them cheap and with no weights:

- the spectral residual (X. Hou and L. Zhang, CVPR 2007): what is left of a log spectrum without its local mean;
- colour contrast (R. Achanta et al., CVPR 2009): how far a place is from the picture's mean colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .faces import faces, reduced
from .image import Box

MAP = 64
"""Cells of the map of what stands out, along each side."""
WHOLE = 0.95
"""Of a picture: a crop that keeps as much stays in the middle."""
EYES = 0.42
"""Where the middle of a head belongs, down an upright crop; across it is the middle."""
OPPONENT = (1.0, 2.0, 2.0)
"""Weights of brightness and of the two colour differences: those are smaller numbers for what the eye takes as equal."""
HEAD = (0.3, 0.55, 0.3, 0.35)
"""Of its size a head reaches beyond the face: left, top, right, bottom."""

Point = tuple[float, float]
"""(across, down) in 0..1 of a picture."""
MIDDLE: Point = (0.5, 0.5)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """``heads`` in 0..1 of the picture, the surest first; ``across`` and ``down`` [64] say how much stands out where.

    ``size`` is the picture's (width, height).
    """

    size: tuple[int, int]
    heads: tuple[Box, ...]
    across: tuple[float, ...]
    down: tuple[float, ...]

    def focus(self, width: int, height: int) -> Point:
        """The middle of the crop with the aspect width:height that shows the subject best."""
        kept = (self.size[0] * height) / (self.size[1] * width)
        if min(kept, 1 / kept) >= WHOLE:
            return MIDDLE
        if kept > 1:
            return _place(1 / kept, [(head[0], head[2]) for head in self.heads], self.across, 0.5), 0.5
        return 0.5, _place(kept, [(head[1], head[3]) for head in self.heads], self.down, EYES)


def subject(image: Image.Image) -> Subject:
    """Of an RGB picture. The same for the same pixels."""
    small = reduced(image)
    w, h = small.size
    left, top, right, bottom = HEAD
    heads = [
        (
            max(0.0, (x0 - left * (x1 - x0)) / w),
            max(0.0, (y0 - top * (y1 - y0)) / h),
            min(1.0, (x1 + right * (x1 - x0)) / w),
            min(1.0, (y1 + bottom * (y1 - y0)) / h),
        )
        for x0, y0, x1, y1 in faces(small)
    ]
    salient = saliency(small)
    return Subject(image.size, tuple(heads), tuple(salient.sum(0).tolist()), tuple(salient.sum(1).tolist()))


def _place(kept: float, heads: list[tuple[float, float]], salient: tuple[float, ...], ideal: float) -> float:
    """The middle of a crop that keeps that share of a side: ``heads`` are the (from, to) along it, ``ideal`` is where in
    the crop their middle belongs, ``salient`` how much stands out along the side.
    """
    start = _around(kept, heads, ideal) if heads else _over(kept, np.asarray(salient))
    return round(min(max(start, 0.0), 1 - kept) + kept / 2, 3)


def _around(kept: float, heads: list[tuple[float, float]], ideal: float) -> float:
    """Where the crop begins so that it holds the surest head, and as many of the others as fit beside it."""
    low, high = heads[0]
    for head in heads[1:]:
        wider = min(low, head[0]), max(high, head[1])
        low, high = wider if wider[1] - wider[0] <= kept else (low, high)
    start = (low + high) / 2 - kept * ideal
    return min(max(start, high - kept), low) if high - low <= kept else (low + high - kept) / 2


def _over(kept: float, salient: Floats) -> float:
    """Where the crop begins that has most of what stands out, counted for less towards its edges."""
    at = (np.arange(MAP) + 0.5) / MAP
    starts = np.linspace(0, 1 - kept, 201)
    off = (at - (starts[:, None] + kept / 2)) / max(kept / 2, 2 / MAP)
    return float(starts[int(np.argmax((np.clip(1 - off**2, 0, None) * salient).sum(1)))])


def saliency(image: Image.Image) -> Floats:
    """[64 64], sum 1: how much each place of the picture stands out."""
    small = image.convert("RGB").resize((MAP, MAP), Image.Resampling.BOX, reducing_gap=2.0)
    opponent = np.asarray(small.convert("YCbCr"), np.float64) * OPPONENT
    colour = np.sqrt(((_blurred(opponent) - opponent.mean((0, 1))) ** 2).sum(-1))
    both = _unit(colour) * (0.3 + _unit(_residual(np.asarray(small.convert("L"), np.float64))))
    found: Floats = both * _towards_middle()
    found /= found.sum()
    return found


def _residual(grey: Floats) -> Floats:
    """The picture that the spectral residual makes, blurred."""
    spectrum = np.fft.fft2(grey)
    log = np.log(np.abs(spectrum) + 1e-9)
    mean = sum(np.roll(log, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    return _blurred(np.abs(np.fft.ifft2(np.exp(log - mean + 1j * np.angle(spectrum)))) ** 2, 3)


def _blurred(values: Floats, times: int = 1) -> Floats:
    """Along the first two axes, by (1 4 6 4 1) / 16."""
    for axis in (0, 1) * times:
        padded = np.pad(values, [(2, 2) if other == axis else (0, 0) for other in range(values.ndim)], "edge")
        parts = [np.take(padded, range(shift, shift + MAP), axis) for shift in range(5)]
        values = (parts[0] + 4 * parts[1] + 6 * parts[2] + 4 * parts[3] + parts[4]) / 16
    return values


def _towards_middle() -> Floats:
    """[64 64]: people put in the middle what they take a picture of."""
    off = (np.arange(MAP) + 0.5) / MAP - 0.5
    weights: Floats = np.exp(-(off[:, None] ** 2 + off**2) / (2 * 0.3**2))
    return weights


def _unit(values: Floats) -> Floats:
    """From 0 to 1, cut off at the top hundredth, so that one bright spot does not hide the rest."""
    top = max(float(np.quantile(values, 0.99)), float(values.max()) / 4)
    return np.clip(values / top, 0, 1) if top > 1e-9 else np.ones_like(values)
