"""Many clips at a glance: frames made small, and a sheet of pictures in rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from . import atomic

Frames = NDArray[np.uint8]
TILE_WIDTH = 256
SHEET_SIDE = 1280
_GAP, _LINE = 6, 18
_PAPER, _EMPTY, _INK = (24, 24, 27), (39, 39, 42), (212, 212, 216)


def small(frames: Frames) -> Frames:
    """uint8 ``[f H W 3]`` at most TILE_WIDTH wide, with the even sides that H.264 has."""
    height, width = frames.shape[1:3]
    size = small_size(width, height)
    if size == (width, height):
        return frames
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in frames])


def small_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) that frames of that size are made small to."""
    target = min(TILE_WIDTH, width + width % 2)
    return target, max(2, round(height * target / width / 2) * 2)


class Sheet:
    """A contact sheet that fills up cell by cell; ``captions`` go row by row, ``columns`` of them in each.

    It is at most SHEET_SIDE px, and no cell wider than a tile. A caption is left out where it has no room.
    """

    def __init__(self, captions: Sequence[str], columns: int, width: int, height: int) -> None:
        """``width`` and ``height`` are those of the clip: every picture is made to fit a cell of their shape."""
        rows = -(-len(captions) // columns)
        scale = min(1.0, TILE_WIDTH / width, _room(columns) / width, (_room(rows) - _LINE) / height)
        self._columns = columns
        self._cell = max(1, round(width * scale)), max(1, round(height * scale))
        across, down = self._pitch
        self._image = Image.new("RGB", (across * columns + _GAP, down * rows + _GAP), _PAPER)
        self._prepare(captions)

    def put(self, index: int, picture: Image.Image) -> None:
        """Fill a cell, or fill it anew."""
        self._image.paste(picture.resize(self._cell, Image.Resampling.BILINEAR), self._corner(index))

    def write(self, path: Path) -> None:
        """As a JPEG, atomically. Raises DiskFull."""
        with atomic(path) as temporary:
            self._image.save(temporary, "JPEG", quality=88, optimize=True, progressive=True)

    def _prepare(self, captions: Sequence[str]) -> None:
        draw, font = ImageDraw.Draw(self._image), ImageFont.load_default(11)
        width, height = self._cell
        for index, caption in enumerate(captions):
            left, top = self._corner(index)
            draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_EMPTY)
            if draw.textlength(caption, font) <= self._pitch[0]:
                draw.text((left + width // 2, top + height + _LINE // 2), caption, _INK, font, anchor="mm")

    @property
    def _pitch(self) -> tuple[int, int]:
        """From one cell to the next, across and down."""
        return self._cell[0] + _GAP, self._cell[1] + _LINE + _GAP

    def _corner(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, self._columns)
        return _GAP + self._pitch[0] * column, _GAP + self._pitch[1] * row


def _room(count: int) -> float:
    """Pixels of one cell where ``count`` of them share SHEET_SIDE."""
    return (SHEET_SIDE - _GAP) / count - _GAP
