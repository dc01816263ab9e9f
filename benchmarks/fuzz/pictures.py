"""Pictures of every kind that the door opens, and what is made of them by hand: sizes, chunks and tables that lie."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from tests.media.files import DATA, chunk, encoded, levels, png, scene

from .mutation import mutated

BIG = 300_000_000
"""Bytes that a few hundred of a packed one become."""


@cache
def whole() -> tuple[bytes, ...]:
    """Sound ones, small, of every format, with and without what may be added to it."""
    plain = Image.fromarray(levels(scene()))
    alpha = plain.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(plain.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    moving = {"save_all": True, "append_images": [plain.rotate(180), plain.rotate(90)]}
    grey16 = Image.fromarray(np.linspace(0, 65535, 96).astype(np.uint16)[None].repeat(64, 0))
    made = [
        encoded(plain), encoded(alpha), encoded(plain.quantize(16), transparency=0), encoded(plain.convert("1")), encoded(grey16),
        encoded(plain, **moving), png(levels(scene(), 16), (b"cICP", bytes([9, 16, 0, 1]))), png(levels(scene()), (b"gAMA", struct.pack(">I", 1))),
        encoded(plain, "JPEG", exif=exif), encoded(plain, "JPEG", progressive=True), encoded(plain.convert("CMYK"), "JPEG"),
        encoded(plain.convert("L"), "JPEG"), encoded(plain, "WEBP"), encoded(alpha, "WEBP", lossless=True), encoded(plain, "WEBP", **moving),
        encoded(plain.quantize(64), "GIF"), encoded(plain, "GIF", **moving), encoded(plain, "BMP"), encoded(plain, "TIFF"),
        encoded(plain, "TIFF", compression="tiff_lzw"), encoded(plain, "TIFF", compression="jpeg"), encoded(grey16, "TIFF"),
        encoded(plain, "TIFF", save_all=True, append_images=[plain]), encoded(plain, "AVIF"), encoded(plain, "AVIF", **moving),
    ]  # fmt: skip
    return (*made, *(path.read_bytes() for path in sorted(DATA.glob("*.heic"))))


def picture(chance: random.Random) -> bytes:
    """A damaged or forged one."""
    return chance.choice(FORGED)(chance) if chance.random() < 0.2 else mutated(chance.choice(whole()), chance, whole())


def _size(chance: random.Random) -> tuple[int, int]:
    sides = (0, 1, 63, 4096, 8000, 30_000, 65_535, 2**31 - 1, 2**32 - 1)
    return chance.choice(sides), chance.choice(sides)


def _png_of_any_size(chance: random.Random) -> bytes:
    width, height = _size(chance)
    head = struct.pack(
        ">IIBBBBB",
        width,
        height,
        chance.choice((1, 8, 16, 7)),
        chance.choice((0, 2, 3, 4, 6, 9)),
        0,
        0,
        chance.choice((0, 1)),
    )
    data = zlib.compress(bytes(chance.choice((0, 99, 100_000))))
    return PNG + b"".join(chunk(*one) for one in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b"")))


def _png_with_a_bomb(chance: random.Random) -> bytes:
    """A small picture with a profile or a text that unpacks to 300 MB, or with pixels that go on."""
    where = chance.choice((b"iCCP", b"zTXt", b"iTXt", b"IDAT"))
    packed = _packed()
    body = {b"iCCP": b"x\0\0" + packed, b"zTXt": b"k\0\0" + packed, b"iTXt": b"k\0\1\0\0\0" + packed, b"IDAT": packed}[
        where
    ]
    return png(levels(scene()), (where, body))


@cache
def _packed() -> bytes:
    packer = zlib.compressobj(9)
    part = bytes(1_000_000)
    return b"".join(packer.compress(part) for _ in range(BIG // len(part))) + packer.flush()


def _jpeg_of_any_size(chance: random.Random) -> bytes:
    data = bytearray(encoded(Image.fromarray(levels(scene())), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    width, height = _size(chance)
    data[at : at + 4] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    return bytes(data)


def _gif_of_many_frames(chance: random.Random) -> bytes:
    frame = (
        b"\x2c"
        + struct.pack("<HHHHB", 0, 0, chance.choice((1, 96, 60_000)), chance.choice((1, 64, 60_000)), 0)
        + b"\x02\x02\x4c\x01\0"
    )
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 96, 64, 0x80, 0, 0)
        + bytes(6)
        + frame * chance.choice((1, 500, 20_000))
        + b";"
    )


def _tiff_of_any_table(chance: random.Random) -> bytes:
    """Tags with counts and places of any size; a table that names itself as the next."""
    order = chance.choice("<>")
    width, height = _size(chance)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, chance.choice((1, 8, 16, 32, 64, 65_535))),
        (259, 3, 1, chance.choice((1, 5, 8, 32_773))),
    ]
    tags += [
        (262, 3, 1, chance.choice((0, 1, 2, 3, 5, 9))),
        (273, 4, chance.choice((1, 2**31)), chance.choice((8, 2**32 - 1))),
    ]
    tags += [
        (277, 3, 1, chance.choice((0, 1, 3, 4, 65_535))),
        (278, 4, 1, height),
        (279, 4, 1, chance.choice((0, 99, 2**32 - 1))),
    ]
    tags += [
        (
            chance.choice((322, 323, 339, 338, 34_675, 700)),
            4,
            chance.choice((1, 2**30)),
            chance.choice((0, 16, 2**32 - 1)),
        )
    ]
    table = b"".join(struct.pack(order + "HHII", *one) for one in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return (
        head
        + struct.pack(order + "H", len(tags))
        + table
        + struct.pack(order + "I", chance.choice((0, 8)))
        + bytes(600)
    )


def _named_otherwise(chance: random.Random) -> bytes:
    kinds = (
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html>",
        b"MZ",
        b"\x7fELF",
        b"PK\x03\x04",
        b"#!/bin/sh\n",
        b"%!PS\n",
        b"",
    )
    return chance.choice(kinds) + chance.randbytes(chance.choice((0, 10, 5000)))


def _a_box_in_a_box(chance: random.Random) -> bytes:
    """HEIC and AVIF: boxes within boxes, as deep as readers may be led."""
    inner = chance.randbytes(8)
    for _ in range(chance.choice((3, 100, 3000))):
        inner = (
            struct.pack(">I4s", len(inner) + 8, chance.choice((b"meta", b"moov", b"iprp", b"ipco", b"trak"))) + inner
        )
    brand = chance.choice((b"heic", b"avif", b"avis", b"mif1", b"isom"))
    return struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, brand) + inner


PNG = b"\x89PNG\r\n\x1a\n"
FORGED = (
    _png_of_any_size, _png_with_a_bomb, _jpeg_of_any_size, _gif_of_many_frames, _tiff_of_any_table, _named_otherwise, _a_box_in_a_box,
)  # fmt: skip


def plain() -> bytes:
    """A picture as people have them."""
    buffer = io.BytesIO()
    Image.fromarray(levels(scene())).resize((320, 192)).save(buffer, "JPEG")
    return buffer.getvalue()
