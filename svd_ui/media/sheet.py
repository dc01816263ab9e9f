"""Many clips at a glance: frames made small, and a sheet of pictures in rows and columns."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .atomic import atomic

Frames = NDArray[np.uint8]
TILE_WIDTH = 256
SHEET_SIDE = 1280
_GAP, _LINE = 6, 18
_PAPER, _EMPTY, _INK = (24, 24, 27), (39, 39, 42), (212, 212, 216)


def small(frames: Frames) -> Frames:
    """uint8 ``[f H W 3]`` at most TILE_WIDTH wide, with the even sides that H.264 has."""
    height, width = frames.shape[1:3]
    target = min(TILE_WIDTH, width + width % 2)
    size = (target, max(2, round(height * target / width / 2) * 2))
    if size == (width, height):
        return frames
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in frames])


def contact_sheet(cells: Sequence[Image.Image | None], captions: Sequence[str], columns: int) -> Image.Image:
    """``cells`` row by row, each over its caption where it has room; at most SHEET_SIDE px. None leaves a cell empty.

    All pictures have one size, that of the first one given.
    """
    given = next((cell.size for cell in cells if cell is not None), (TILE_WIDTH, TILE_WIDTH))
    rows = -(-len(cells) // columns)
    scale = min(1.0, TILE_WIDTH / given[0], _room(columns) / given[0], (_room(rows) - _LINE) / given[1])
    width, height = max(1, round(given[0] * scale)), max(1, round(given[1] * scale))
    across, down = width + _GAP, height + _LINE + _GAP
    sheet = Image.new("RGB", (across * columns + _GAP, down * rows + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        left, top = _GAP + across * (index % columns), _GAP + down * (index // columns)
        if cell is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_EMPTY)
        else:
            sheet.paste(cell.resize((width, height), Image.Resampling.BILINEAR), (left, top))
        if draw.textlength(caption, font) <= across:
            draw.text((left + width // 2, top + height + _LINE // 2), caption, _INK, font, anchor="mm")
    return sheet


def sheet_jpeg(sheet: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def write_sheet(path: Path, sheet: Image.Image) -> None:
    """As a JPEG, atomically. Raises DiskFull."""
    with atomic(path) as temporary:
        sheet.save(temporary, "JPEG", quality=88, optimize=True, progressive=True)


def _room(count: int) -> float:
    """Pixels of one cell where ``count`` of them share SHEET_SIDE."""
    return (SHEET_SIDE - _GAP) / count - _GAP
