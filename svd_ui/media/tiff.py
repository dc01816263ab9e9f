"""TIFF beyond 8 bits a channel, which Pillow reads as garbage or not at all; and the raw files of cameras, which are TIFF.

The library behind Pillow unpacks every compression, but only into modes that Pillow has. So the same strips are shown
to it once more as a grey picture of single bytes, and the numbers are put together here (TIFF 6.0; Adobe's technical
note 3 of 2005 for the predictor of floats).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = (
    254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284,
)  # fmt: skip
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SUB_IFDS, EXTRA, FORMAT, PROFILE, DNG_VERSION = (
    317, 322, 323, 324, 325, 330, 338, 339, 34675, 50706,
)  # fmt: skip
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_UNPACKED = {1, 5, 8, 32773, 32946, 34925, 50000}
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}
"""Photometric interpretation => channels without alpha: grey in two directions, RGB, CMYK."""
_MODES = {(1, 0): "L", (1, 1): "La", (1, 2): "LA", (3, 0): "RGB", (3, 1): "RGBa", (3, 2): "RGBA", (4, 0): "CMYK"}
"""By colours and the kind of alpha: none, multiplied into the colours, beside them."""
_RAW_PHOTOMETRIC = {32803, 34892}
_RAW_COMPRESSION = {32767, 34713, 65000, 65535}
MAX_ENTRIES = 4096

Tags = dict[int, tuple[int, ...]]


class NotDeep(Exception):
    """This TIFF has no more than 8 bits a channel, or is of a kind that is left to Pillow."""


def tags(raw: bytes) -> Tags:
    """The whole-number tags of the first picture; empty for what is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(raw[:2])
    if order is None or len(raw) < 16:
        return {}
    version = struct.unpack_from(order + "H", raw, 2)[0]
    if version == 43:
        return _directory(raw, struct.unpack_from(order + "Q", raw, 8)[0], order, big=True)
    return _directory(raw, struct.unpack_from(order + "I", raw, 4)[0], order, big=False) if version == 42 else {}


def has_more_pages(raw: bytes) -> bool:
    """Whether another picture follows the first one."""
    order = "<" if raw[:2] == b"II" else ">"
    try:
        at, count, size, offset = (4, "H", 12, "I") if raw[2:4] in (b"*\0", b"\0*") else (8, "Q", 20, "Q")
        (first,) = struct.unpack_from(order + offset, raw, at)
        (entries,) = struct.unpack_from(order + count, raw, first)
        (following,) = struct.unpack_from(order + offset, raw, first + struct.calcsize(order + count) + size * entries)
    except struct.error:
        return False
    return bool(following)


def is_camera_raw(raw: bytes) -> bool:
    """Whether the TIFF holds what a sensor saw, with a small developed picture at most: DNG, NEF, ARW, PEF, SRW, 3FR."""
    try:
        first = tags(raw)
        order = "<" if raw[:2] == b"II" else ">"
        held = [first, *(_directory(raw, at, order, big=False) for at in first.get(SUB_IFDS, ())[:8])]
    except (struct.error, ValueError):
        return False
    sensor = any(
        one.get(PHOTOMETRIC, (0,))[0] in _RAW_PHOTOMETRIC or one.get(COMPRESSION, (0,))[0] in _RAW_COMPRESSION
        for one in held
    )
    is_preview = bool(first.get(SUBFILE, (0,))[0] & 1) and SUB_IFDS in first
    return bool(first) and (DNG_VERSION in first or sensor or is_preview)


def bytes_per_pixel(found: Tags) -> int:
    return found.get(SAMPLES, (1,))[0] * max(found.get(BITS, (1,))) // 8


def info(found: Tags) -> dict[str, Any]:
    """Profile and orientation as Pillow's ``info`` holds them."""
    exif = Image.Exif()
    exif[ORIENTATION] = found.get(ORIENTATION, (1,))[0]
    profile = {"icc_profile": bytes(found[PROFILE])} if PROFILE in found else {}
    return {"exif": exif.tobytes(), **profile}


def pixels(raw: bytes) -> tuple[NDArray[Any], str]:
    """``[H W C]`` as stored, upright or not, and the mode of the 8-bit picture it makes. Raises NotDeep, and ValueError
    or OSError where the file is damaged.
    """
    found = tags(raw)
    samples, bits = found.get(SAMPLES, (1,))[0], found.get(BITS, (1,))
    colours = _COLOURS.get(found.get(PHOTOMETRIC, (-1,))[0])
    if colours is None or samples < colours or max(bits) <= 8 or found.get(COMPRESSION, (1,))[0] not in _UNPACKED:
        raise NotDeep
    dtype = _dtype(bits, found.get(FORMAT, (1,))[0])
    data = _unpacked(raw, found, dtype, samples)
    extra = found.get(EXTRA, (0,))[0] if samples > colours and colours != 4 else 0
    alpha = extra if extra in (1, 2) else 0
    kept = data[..., : colours + bool(alpha)]
    if found[PHOTOMETRIC][0] == 0:
        kept = kept.max() - kept if dtype.kind == "f" else np.iinfo(dtype).max - kept
    return kept, _MODES[colours, alpha]


def _dtype(bits: tuple[int, ...], kind: int) -> np.dtype[Any]:
    """Raises NotDeep for what numpy has no numbers for, such as 12 or 24 bits."""
    letter = {1: "u", 2: "i", 3: "f"}.get(kind)
    if letter is None or len(set(bits)) > 1 or bits[0] not in (16, 32, 64):
        raise NotDeep
    return np.dtype(f"{letter}{bits[0] // 8}")


def _unpacked(raw: bytes, found: Tags, dtype: np.dtype[Any], samples: int) -> NDArray[Any]:
    width, height = found[WIDTH][0], found[HEIGHT][0]
    planar = found.get(PLANAR, (1,))[0] == 2
    tile = found[TILE_WIDTH][0] if TILE_WIDTH in found else width
    planes, each = (samples, 1) if planar else (1, samples)
    result = np.empty((height, width, samples), dtype)
    for plane in range(planes):
        data = _bytes_of_plane(raw, found, each * dtype.itemsize, plane, planes)
        for left in range(0, width, tile):
            one = data[:, left * each * dtype.itemsize : (left + tile) * each * dtype.itemsize]
            values = _numbers(one.reshape(height, -1), dtype, each, found.get(PREDICTOR, (1,))[0], raw[:2] == b"MM")
            result[:, left : left + tile, plane : plane + each] = values[:, : width - left]
    return result


def _numbers(data: NDArray[np.uint8], dtype: np.dtype[Any], each: int, predictor: int, big: bool) -> NDArray[Any]:
    """Rows of bytes => ``[H W C]``, what a predictor took away added again."""
    height, size = len(data), dtype.itemsize
    if predictor == 3:
        summed = np.cumsum(data.reshape(height, -1, each), axis=1, dtype=np.uint8).reshape(height, size, -1)
        # The bytes of all numbers of a row stand together, the most significant ones first.
        whole = np.ascontiguousarray(summed.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
        return whole.reshape(height, -1, each).astype(dtype)
    stored = np.ascontiguousarray(data).view(dtype.newbyteorder(">" if big else "<"))
    values = stored.reshape(height, -1, each).astype(dtype)
    if predictor == 2:  # differences of words, whatever the words mean
        words = np.dtype(f"u{size}")
        return np.cumsum(values.view(words), axis=1, dtype=words).view(dtype)
    return values


def _bytes_of_plane(raw: bytes, found: Tags, width: int, plane: int, planes: int) -> NDArray[np.uint8]:
    """Every row of one plane as bytes, ``width`` of them a pixel; of a tiled picture up to the end of its last tile."""
    across, tiled = found[WIDTH][0], TILE_WIDTH in found
    if tiled:
        across = -(-across // found[TILE_WIDTH][0]) * found[TILE_WIDTH][0]
    offsets, counts = (TILE_OFFSETS, TILE_COUNTS) if tiled else (OFFSETS, COUNTS)
    share = len(found[offsets]) // planes
    part = slice(plane * share, (plane + 1) * share)
    grey: Tags = {
        WIDTH: (across * width,),
        HEIGHT: found[HEIGHT],
        BITS: (8,),
        COMPRESSION: found.get(COMPRESSION, (1,)),
        PHOTOMETRIC: (1,),
        SAMPLES: (1,),
        offsets: found[offsets][part],
        counts: found[counts][part],
    }
    if tiled:
        grey |= {TILE_WIDTH: (found[TILE_WIDTH][0] * width,), TILE_HEIGHT: found[TILE_HEIGHT]}
    else:
        grey[ROWS] = found.get(ROWS, found[HEIGHT])
    with TiffImagePlugin.TiffImageFile(io.BytesIO(_with_directory(raw, grey))) as image:
        return np.asarray(image)


def _with_directory(raw: bytes, entries: Tags) -> bytes:
    """``raw`` as a TIFF whose first picture is described by ``entries``; what is stored stays where it is."""
    order = "<" if raw[:2] == b"II" else ">"
    at = len(raw) + len(raw) % 2
    table, values = [], b""
    beyond = at + 2 + 12 * len(entries) + 4
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        where = packed if len(numbers) == 1 else struct.pack(order + "I", beyond + len(values))
        values += packed if len(numbers) > 1 else b""
        table.append(struct.pack(order + "HHI", tag, 4, len(numbers)) + where)
    head = raw[:2] + struct.pack(order + "HI", 42, at)
    directory = struct.pack(order + "H", len(table)) + b"".join(table) + bytes(4)
    return head + raw[8:] + bytes(len(raw) % 2) + directory + values


def _directory(raw: bytes, at: int, order: str, big: bool) -> Tags:
    """The whole-number tags of the directory at ``at``, as far as they are there. Raises struct.error."""
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), raw, at)
    at, size = at + (8 if big else 2), 20 if big else 12
    found: Tags = {}
    for _ in range(min(count, MAX_ENTRIES)):
        tag, kind = struct.unpack_from(order + "HH", raw, at)
        (length,) = struct.unpack_from(order + ("Q" if big else "I"), raw, at + 4)
        place = at + (12 if big else 8)
        at += size
        if kind not in _LETTERS or length > len(raw) // _SIZES[kind]:
            continue
        if length * _SIZES[kind] > (8 if big else 4):
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), raw, place)
        if place + length * _SIZES[kind] <= len(raw):
            found[tag] = struct.unpack_from(f"{order}{length}{_LETTERS[kind]}", raw, place)
    return {tag: values for tag, values in found.items() if values}
