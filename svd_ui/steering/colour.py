"""Colours of a long clip held to those of its still, and how far they have drifted.

CIE L*a*b* of 1976 under D65, from sRGB by IEC 61966-2-1; the transfer of means and deviations is that of Reinhard et al.,
"Color Transfer between Images" (IEEE CG&A 2001), which takes them in a space much like it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]

TO_XYZ = np.array(
    ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)), np.float32
)  # linear sRGB => XYZ, IEC 61966-2-1
WHITE = TO_XYZ.sum(1)  # so that grey has no colour
KNEE = 6 / 29
"""Where CIE's cube root becomes a line."""
LEAST_DEVIATION = 0.5
"""L*a*b* units: a channel flatter than this is moved, not stretched, as its deviation is mostly rounding."""


class Drift(NamedTuple):
    """How far a frame is from the still.

    delta_e    distance of their mean colours, CIE 1976: 2.3 is just noticeable
    sharpness  mean slope of lightness of the frame in that of the still: 1 as sharp, 0 nothing left
    """

    delta_e: float
    sharpness: float


def lab_of(pixels: Frames) -> Floats:
    """sRGB ``[... 3]`` => L*a*b* ``[... 3]``: L* 0 to 100, a* and b* around 0."""
    table = np.arange(256, dtype=np.float32) / 255
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4).astype(np.float32)[pixels]
    x, y, z = np.moveaxis(_root(linear @ TO_XYZ.T / WHITE), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def srgb_of(lab: Floats) -> Frames:
    """L*a*b* ``[... 3]`` => sRGB ``[... 3]``, clipped."""
    y = (lab[..., 0] + 16) / 116
    roots = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(roots > KNEE, roots**3, 3 * KNEE**2 * (roots - 4 / 29)) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(TO_XYZ).T, 0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * values), np.uint8)


def matched(frames: Frames, still: Frames) -> Frames:
    """``frames`` ``[F H W 3]`` with the mean and deviation of L*a*b* that ``still`` ``[H W 3]`` has.

    They are taken over all of ``frames`` together, so that nothing flickers. Frames that match already come back as they are,
    but for rounding.
    """
    lab, wanted = lab_of(frames), lab_of(still).reshape(-1, 3)
    mean, deviation = lab.reshape(-1, 3).mean(0), lab.reshape(-1, 3).std(0)
    stretch = np.where(deviation < LEAST_DEVIATION, 1, wanted.std(0) / np.maximum(deviation, LEAST_DEVIATION))
    return srgb_of(((lab - mean) * stretch + wanted.mean(0)).astype(np.float32))


def drift(frame: Frames, still: Frames) -> Drift:
    """How far ``frame`` has drifted from ``still``, both ``[H W 3]``."""
    one, other = lab_of(frame), lab_of(still)
    distance = np.linalg.norm(one.reshape(-1, 3).mean(0) - other.reshape(-1, 3).mean(0))
    return Drift(float(distance), _slope(one[..., 0]) / max(_slope(other[..., 0]), 1e-6))


def _root(values: Floats) -> Floats:
    return np.where(values > KNEE**3, np.cbrt(values), values / (3 * KNEE**2) + 4 / 29).astype(np.float32)


def _slope(lightness: Floats) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(lightness, axis=0)).mean() + np.abs(np.diff(lightness, axis=1)).mean())
