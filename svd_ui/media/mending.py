"""Files that are a little damaged and show the whole picture all the same: cut off at the end, a wrong checksum.

Decoders refuse them; browsers and phones show them, so people know them as pictures.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..notes import Note
from .metadata import PNG, chunks

MOST_MISSING = 0.1
"""Of a picture's rows: what is cut off beyond that is not the picture any more."""
SLIGHT = 4
"""Levels by which decoders may differ at the edge of what is there."""
_END = b"\xff\xd9"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Mended:
    """Bytes that decode, the share of the rows that are missing at the bottom, and what to say."""

    data: bytes
    missing: float = 0.0
    notes: tuple[Note, ...] = ()


def mend(raw: bytes, max_pixels: int) -> Mended:
    """For what a decoder has refused; ``raw`` as it is where it is of a kind that cannot be mended, or too large."""
    if raw.startswith(PNG) and len(raw) > 33:
        width, height = struct.unpack_from(">II", raw, 16)
        return _png(raw) if 0 < width * height <= max_pixels else Mended(raw)
    return _jpeg(raw, max_pixels) if raw[:2] == b"\xff\xd8" else Mended(raw)


def filled(image: Image.Image, missing: float) -> Image.Image:
    """The rows that are ``missing`` at the bottom as copies of the last one there is: no bar of grey to animate."""
    there = int(image.height * (1 - missing))
    if there >= image.height or there < 1:
        return image
    last = image.crop((0, there - 1, image.width, there))
    image.paste(last.resize((image.width, image.height - there)), (0, there))
    return image


def _cut_off(missing: float) -> tuple[Note, ...]:
    return (Note.of("file_cut_off", share=missing) if missing else Note.of("file_end_missing"),)


# JPEG


def _jpeg(raw: bytes, max_pixels: int) -> Mended:
    """Decoded twice, each time with other bytes for what is missing: where the two differ, nothing was there."""
    ended = raw.removesuffix(b"\xff") + _END
    noise = bytes(np.random.default_rng(0).integers(1, 255, 4096, dtype=np.uint8))
    first, second = _decoded(ended, max_pixels), _decoded(ended[:-2] + noise + _END, max_pixels)
    if first is None or second is None:
        return Mended(raw)
    missing = _unlike(first, second)
    return Mended(ended, missing, _cut_off(missing))


def _decoded(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """At an eighth, where a pixel is the mean of a block: scans that only refine the picture make no difference."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > max_pixels:
                return None
            image.draft("L", (1, 1))
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError):
        return None


def _unlike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """The share of rows from the first one that differs."""
    rows = np.abs(first.astype(np.int16) - second).max(axis=1) > SLIGHT
    return float(1 - rows.argmax() / len(rows)) if rows.any() else 0.0


# PNG


def _png(raw: bytes) -> Mended:
    """Chunks with a wrong checksum that a picture does not need are left out; the profile stays where its own is right."""
    parts, notes, data, complete = [PNG], [], [], False
    for name, at, length in chunks(raw):
        body, sum_ = raw[at : at + length], raw[at + length : at + length + 4]
        if name == b"IDAT":
            data.append(body)
        if struct.pack(">I", zlib.crc32(name + body)) != sum_ and name[0] & 0x20:
            notes.append(Note.of("checksum_wrong", name=name.decode("latin-1")))
            if name != b"iCCP" or not _unpacks(body):
                continue
            sum_ = struct.pack(">I", zlib.crc32(name + body))
        parts += [raw[at - 8 : at], body, sum_]
        if complete := name == b"IEND":
            break
    if not complete:
        return _cut_png(raw, parts, data, notes)
    return Mended(b"".join(parts), notes=tuple(notes)) if notes else Mended(raw)


def _unpacks(iccp: bytes) -> bool:
    try:
        return bool(zlib.decompress(iccp[iccp.index(b"\0") + 2 :]))
    except (zlib.error, ValueError):
        return False


def _cut_png(raw: bytes, parts: list[bytes], data: list[bytes], notes: list[Note]) -> Mended:
    """The rows that are there, then empty ones. Interlaced pictures would need all of theirs."""
    end = sum(map(len, parts))
    if raw[end + 4 : end + 8] == b"IDAT" and not notes:
        data.append(raw[end + 8 :])
    width, height, bits, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", raw, 16)
    if not data or interlaced or kind not in _PNG_SAMPLES:
        return Mended(raw)
    row = 1 + -(-width * bits * _PNG_SAMPLES[kind] // 8)
    rows, whole = _whole_rows(b"".join(data), row, height)
    missing = 1 - rows / height
    if missing > MOST_MISSING:
        return Mended(raw, missing)
    body = zlib.compress(whole + bytes(row * (height - rows)), 1)
    mended = b"".join([*_without_data(parts), _chunk(b"IDAT", body), _chunk(b"IEND", b"")])
    return Mended(mended, missing, (*notes, *_cut_off(missing)))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _without_data(parts: list[bytes]) -> list[bytes]:
    """The chunks before the pixels; three parts each, after the signature."""
    first = next((index for index, part in enumerate(parts) if part[4:8] == b"IDAT" and index % 3 == 1), len(parts))
    return parts[:first]


def _whole_rows(packed: bytes, row: int, height: int) -> tuple[int, bytes]:
    """(how many rows are there in full, their bytes)."""
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(packed, row * height)
    except zlib.error:
        return 0, b""
    rows = len(whole) // row
    return rows, whole[: rows * row]
