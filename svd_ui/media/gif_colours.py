"""Frames in the 255 colours of a GIF, chosen once for the whole clip.

Each pixel is dithered by a fixed pattern (Knoll's, described in "Arbitrary-palette positional dithering", Joel Yliluoma,
2011) that depends on its place alone, and is drawn again only where the picture changed: what stands still stands still.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .video import Frames

GIF_COLOURS = 255  # and one that is transparent, for what stays as it was
STILL, STILL_AROUND = 24, 5
"""Differences, summed over red, green and blue, up to which a pixel of a GIF stays as it was drawn: its own, which noise
makes, and the mean of it and its neighbours, in which noise goes and a slow change stays."""
_SAMPLE = 150_000
"""Pixels from which the colours are chosen."""
_PATTERN = np.array([[0, 2], [3, 1]])
_SPREAD = 0.8
"""How much of the error is passed on: with all of it lone pixels stray far from the picture."""
_BITS = 6
"""Of each channel, with which the nearest colour is looked up."""


class FrameSequence(Protocol):
    """Frames ``[H W 3]`` by number: an array ``[F H W 3]`` is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


def palette_of(frames: FrameSequence) -> NDArray[np.uint8]:
    """Up to GIF_COLOURS colours ``[n 3]`` of the whole clip, dark ones first."""
    chosen = range(0, len(frames), max(1, len(frames) // 64))
    height, width = frames[0].shape[:2]
    step = max(1, round((len(chosen) * height * width / _SAMPLE) ** 0.5))
    samples = (frames[index][at % step :: step, 3 * at % step :: step] for at, index in enumerate(chosen))
    pixels = np.concatenate([sample.reshape(-1, 3) for sample in samples])
    picture = Image.fromarray(pixels[None])
    # k-means goes on while more than so many pixels change their colour: a hundredth is not seen, and ends it in time.
    reduced = picture.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT, kmeans=1500, dither=Image.Dither.NONE)
    palette = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)[:GIF_COLOURS]
    return palette[np.argsort(palette @ [0.299, 0.587, 0.114], kind="stable")]


def drawn(frames: Iterable[Frames], palette: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Each frame as numbers of colours ``[H W]``."""
    nearest = _nearest(palette)
    before: NDArray[np.uint8] | None = None
    shown: NDArray[np.int16] = np.empty(0, np.int16)
    for frame in frames:
        if before is None:
            shown = frame.astype(np.int16)
            changed = np.ones(frame.shape[:2], bool)
            before = np.zeros(frame.shape[:2], np.uint8)
        else:
            changed = _changed(frame - shown)
            shown[changed] = frame[changed]
        rows, columns = np.nonzero(changed)
        now = before.copy()
        now[changed] = _dithered(frame[changed], _PATTERN[rows % 2, columns % 2], palette, nearest)
        before = now
        yield now


def _changed(difference: NDArray[np.int16]) -> NDArray[np.bool_]:
    padded = np.pad(difference, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    changed: NDArray[np.bool_] = (np.abs(around).sum(-1) > 9 * STILL_AROUND) | (np.abs(difference).sum(-1) > STILL)
    return changed


def _dithered(
    pixels: Frames, places: NDArray[np.intp], palette: NDArray[np.uint8], nearest: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The colours whose mean is the pixel's own, as many as the pattern has places: each pixel shows that of its place."""
    goal, wide = pixels.astype(np.float32), palette.astype(np.float32)
    error = np.zeros_like(goal)
    mixed = np.empty((_PATTERN.size, len(goal)), np.uint8)
    for one in mixed:
        cells = np.clip(goal + _SPREAD * error, 0, 255).astype(np.uint32) >> (8 - _BITS)
        one[:] = nearest[cells @ np.array([1 << 2 * _BITS, 1 << _BITS, 1], np.uint32)]
        error += goal - wide[one]
    mixed.sort(axis=0)  # by lightness
    chosen: NDArray[np.uint8] = np.take_along_axis(mixed, places[None], axis=0)[0]
    return chosen


def _nearest(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The nearest colour of every cell of the colour cube, in one row."""
    middles = (np.arange(1 << _BITS, dtype=np.float32) + 0.5) * (1 << 8 - _BITS)
    cells = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), -1).reshape(-1, 3)
    wide = palette.astype(np.float32)
    lengths = (wide**2).sum(1)
    parts = [(lengths - 2 * part @ wide.T).argmin(1).astype(np.uint8) for part in np.array_split(cells, 64)]
    return np.concatenate(parts)
