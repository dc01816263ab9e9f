"""Picture and clip files that no library writes for us: chunks, profiles and boxes put together by hand."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from svd_ui.media.video import Mp4Writer

DATA = Path(__file__).parent.parent / "data"
LIMITS = {"max_bytes": 50_000_000, "max_pixels": 64_000_000}


def scene(low: float = 0.1, high: float = 0.9) -> NDArray[np.float64]:
    """``[64 96 3]``: red rises to the right, green falls downwards, blue rises along the diagonal."""
    y, x = np.mgrid[:64, :96]
    values = np.stack([x / 95, 1 - y / 63, (x + y) / 158], -1)
    return np.asarray(low + (high - low) * values)


def levels(values: NDArray[np.float64], bits: int = 8) -> NDArray[Any]:
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def encoded(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: NDArray[Any], *extra: tuple[bytes, bytes]) -> bytes:
    """8 or 16 bits, RGB or RGBA, with chunks before the pixels."""
    height, width, channels = pixels.shape
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, 2 if channels == 3 else 6, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2 (ICC.1:2001-04)."""
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in (x, y, z)))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * value))


WHITE = xyz(0.9642, 1.0, 0.8249)


def matrix_profile(red: bytes, green: bytes, blue: bytes, exponent: float) -> bytes:
    curve = gamma(exponent)
    return profile(
        b"RGB ",
        b"XYZ ",
        {b"wtpt": WHITE, b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve},
    )


def lut_profile(space: bytes, inputs: int, lab: tuple[int, int, int]) -> bytes:
    """Every colour is ``lab`` (8 bits each): whoever leaves the table out sees something else."""
    identity = bytes(range(256))
    table = (
        b"mft1\0\0\0\0"
        + bytes([inputs, 3, 2, 0])
        + struct.pack(">9i", *(65536 * one for one in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    )
    table += identity * inputs + bytes(lab) * 2**inputs + identity * 3
    return profile(space, b"Lab ", {b"wtpt": WHITE, b"A2B0": table})


def clip(path: Path, frames: NDArray[np.uint8], fps: float = 8) -> bytes:
    with Mp4Writer(path, frames.shape[2], frames.shape[1], fps) as writer:
        writer.add(frames)
    return path.read_bytes()


TURNS = {"90": (0, 1, -1, 0), "180": (-1, 0, 0, -1), "270": (0, -1, 1, 0), "mirrored": (-1, 0, 0, 1)}
"""Clockwise: the first four numbers of a display matrix, as phones write it."""


def turned(mp4: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """``mp4`` with a display matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    at = mp4.index(b"tkhd") + 4
    at += (32 if mp4[at] else 20) + 4 + 16
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    return mp4[:at] + matrix + mp4[at + 36 :]
