"""Pixels whose colours are told by numbers instead of a profile -> sRGB: code points of video, gamma and chromaticities.

Code points, chromaticities and transfer functions are those of ITU-T H.273 (07/2024), PQ and HLG as in ITU-R BT.2100,
diffuse white at 203 cd/m2 and HLG's display of 1000 cd/m2 as in ITU-R BT.2408.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green, blue: the order of PNG's cHRM."""

D65 = (0.3127, 0.329)
BT709: Chromaticities = (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE_RGB: Chromaticities = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PRIMARIES: dict[int, Chromaticities] = {
    1: BT709,
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    8: (0.31, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (*D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
SRGB, PQ, HLG = 13, 16, 18
LIKE_SRGB = {1, 2, 6, 11, 12, SRGB, 14, 15}
"""Television's curves are those of cameras; screens and browsers show such pictures with sRGB's."""
WHITE_NITS, HLG_PEAK_NITS = 203.0, 1000.0
ADOBE_GAMMA = 563 / 256
_KNEE = 0.7
_ROWS = 256


@dataclass(frozen=True)
class ColourSpace:
    """How numbers mean colours. ``transfer`` is a code point of H.273, or minus the exponent of a plain power law."""

    primaries: Chromaticities = BT709
    transfer: float = SRGB

    @property
    def is_srgb(self) -> bool:
        return self.primaries == BT709 and self.transfer == SRGB

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)


ADOBE = ColourSpace(ADOBE_RGB, -ADOBE_GAMMA)


def encoding_of(primaries: int, transfer: int) -> ColourSpace:
    """Of two code points of H.273; what is unspecified or unknown counts as sRGB's."""
    known = transfer in _CURVES and transfer not in LIKE_SRGB
    return ColourSpace(PRIMARIES.get(primaries, BT709), transfer if known else SRGB)


def to_srgb(pixels: NDArray[Any], encoding: ColourSpace, peak: float | None = None) -> NDArray[np.uint8]:
    """``[H W 3]`` of 8 or 16 bits, full range, as 8-bit sRGB; what lies outside is cut, HDR is mapped to it.

    ``peak`` is the brightest that HDR holds, diffuse white being 1; None looks at the picture.
    """
    table = _linear_table(encoding.transfer, 1 << 8 * pixels.dtype.itemsize)
    matrix = (_to_xyz(BT709, inverse=True) @ _adapted(encoding.primaries)).astype(np.float32)
    if peak is None:
        peak = _peak(pixels, table, encoding) if encoding.is_hdr else 1.0
    result = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS):  # in bands: a large picture as floats would not fit
        light = _display_light(table[pixels[top : top + _ROWS]], encoding)
        if encoding.is_hdr:
            light = _rolled_off(light, peak)
        result[top : top + _ROWS] = _encoded(light @ matrix.T)
    return result


def _display_light(light: Floats, encoding: ColourSpace) -> Floats:
    """Diffuse white is 1. HLG holds the light of the scene: its display brightens by the luminance to the power 0.2."""
    if encoding.transfer != HLG:
        return light
    luminance = light @ _adapted(encoding.primaries)[1].astype(np.float32)
    shown: Floats = light * np.power(luminance, 0.2)[..., None] * np.float32(HLG_PEAK_NITS / WHITE_NITS)
    return shown


def _peak(pixels: NDArray[Any], table: Floats, encoding: ColourSpace) -> float:
    """The brightest channel of the picture, white being 1; a few stray pixels do not count."""
    sample = pixels[:: max(1, len(pixels) // 512), :: max(1, pixels.shape[1] // 512)]
    return max(1.0, float(np.percentile(_display_light(table[sample], encoding).max(axis=-1), 99.9)))


def _rolled_off(light: Floats, peak: float) -> Floats:
    """Highlights up to ``peak`` bent to 1 above a knee, the three channels by the same factor so that hues stay.

    A picture that holds nothing brighter than diffuse white is not changed.
    """
    if peak <= 1.0:
        return light
    strongest = light.max(axis=-1, keepdims=True)
    above = np.clip(strongest, _KNEE, peak) - _KNEE
    # a / (1 + b a) with slope 1 at the knee, which reaches 1 at the peak
    bend = 1 / (1 - _KNEE) - 1 / (peak - _KNEE)
    bent = _KNEE + above / (1 + bend * above)
    return light * np.where(strongest > _KNEE, bent / np.maximum(strongest, _KNEE), 1.0).astype(np.float32)


def _encoded(light: Floats) -> NDArray[np.uint8]:
    """Linear light 0..1 as 8 bits of sRGB."""
    return np.asarray(_ENCODING[np.rint(np.clip(light, 0, 1) * 65535).astype(np.uint16)])


def _srgb_of_linear() -> NDArray[np.uint8]:
    light = np.arange(65536) / 65535
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curve), dtype=np.uint8)


_ENCODING = _srgb_of_linear()


@lru_cache(maxsize=4)
def _linear_table(transfer: float, levels: int) -> Floats:
    values = np.linspace(0.0, 1.0, levels)
    if transfer < 0:
        return np.power(values, -transfer).astype(np.float32)
    return _CURVES[int(transfer)](values).astype(np.float32)


def _srgb_curve(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _smpte240(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(v < 4 * 0.0228, v / 4, ((v + 0.1115) / 1.1115) ** (1 / 0.45))


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = v ** (1 / m2)
    return 10_000 / WHITE_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)


_CURVES: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    SRGB: _srgb_curve,
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    7: _smpte240,
    8: lambda v: v,
    9: lambda v: np.where(v > 0, 10 ** (2 * (v - 1)), 0.0),
    10: lambda v: np.where(v > 0, 10 ** (2.5 * (v - 1)), 0.0),
    PQ: _pq,
    17: lambda v: v**2.6 * (52.37 / 48),
    HLG: _hlg,
}


def _to_xyz(primaries: Chromaticities, inverse: bool = False) -> NDArray[np.float64]:
    """Linear RGB => XYZ, the luminance of white being 1."""
    wx, wy, *rgb = primaries
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in zip(rgb[::2], rgb[1::2], strict=True)]).T
    scale = np.linalg.solve(columns, np.array([wx / wy, 1.0, (1 - wx - wy) / wy]))
    return np.linalg.inv(columns * scale) if inverse else columns * scale


def _adapted(primaries: Chromaticities) -> NDArray[np.float64]:
    """Linear RGB => XYZ under D65, another white adapted by Bradford's matrix (CIE 168)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    matrix = _to_xyz(primaries)
    gain = (bradford @ _to_xyz(BT709).sum(axis=1)) / (bradford @ matrix.sum(axis=1))
    adapted: NDArray[np.float64] = np.linalg.inv(bradford) @ np.diag(gain) @ bradford @ matrix
    return adapted
