"""What a picture's file says beside its pixels and its profile: colours as numbers, an HDR gain map, a clip behind it.

Read from the bytes, since decoders pass none of it on. Nothing here fails: what cannot be read says nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..notes import Note
from . import cicp
from .cicp import ColourSpace

_GAIN_MAP = (b"hdrgm:Version", b"HDRGainMap", b"hdrgainmap", b"urn:iso:std:iso:ts:21496")
_MOTION = re.compile(rb"(MotionPhoto|MicroVideo)(=[\"']1[\"']|>1<)|MotionPhoto_Data")
PNG = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 10_000
_GAMMA_OF_SRGB = 45_455
"""What writers that mean sRGB put into gAMA."""


def encoding_of(raw: bytes, has_profile: bool) -> ColourSpace | None:
    """How the numbers of a picture mean colours where the file tells it by numbers; None: by its profile, or as sRGB.

    A PNG's cICP comes before its profile, everything else after it (PNG, third edition, 4.3; MIAF).
    """
    try:
        if raw.startswith(PNG):
            return _png_encoding(raw, has_profile)
        if raw[4:8] == b"ftyp" and not has_profile:
            return _heif_encoding(raw)
        return cicp.ADOBE if not has_profile and raw[:2] == b"\xff\xd8" and _is_adobe_rgb(raw) else None
    except (struct.error, ValueError, IndexError):
        return None


def extras(raw: bytes) -> list[Note]:
    """Notes on what the file holds beside the picture that is used."""
    notes, is_heif = [], raw[4:8] == b"ftyp"
    if not is_heif and raw[:2] != b"\xff\xd8":
        return []
    tops = dict(boxes(raw)) if is_heif else {}
    described = tops.get(b"meta", b"") if is_heif else raw
    if any(mark in described for mark in _GAIN_MAP) or b"tmap" in tops.get(b"meta", b""):
        notes.append(Note.of("gain_map"))
    if b"mpvd" in tops or _MOTION.search(raw) or (not is_heif and _has_clip_behind(raw)):
        notes.append(Note.of("motion_photo"))
    return notes


def _has_clip_behind(jpeg: bytes) -> bool:
    """Phones append the clip of a motion photo, an mp4, behind the picture; a HEIC holds it in a box of its own."""
    at = jpeg.rfind(b"ftyp")
    return (
        at > 1000 and jpeg[at - 4 : at - 1] == bytes(3) and jpeg[at + 4 : at + 6] in (b"mp", b"is", b"qt", b"M4", b"he")
    )


# PNG


def chunks(raw: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start of its data, length) of each chunk of a PNG that is there in full."""
    at = len(PNG)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(raw):
            return
        (length,) = struct.unpack_from(">I", raw, at)
        if at + 12 + length > len(raw):
            return
        yield raw[at + 4 : at + 8], at + 8, length
        at += 12 + length


def _png_encoding(raw: bytes, has_profile: bool) -> ColourSpace | None:
    found: dict[bytes, bytes] = {}
    for name, at, length in chunks(raw):
        if name == b"IDAT":
            break
        if name in (b"cICP", b"sRGB", b"gAMA", b"cHRM"):
            found[name] = raw[at : at + length]
    if len(found.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full_range = found[b"cICP"]
        if matrix == 0 and full_range == 1:  # all that PNG allows
            return cicp.encoding_of(primaries, transfer)
    if has_profile or b"sRGB" in found or b"gAMA" not in found:
        return None  # chromaticities alone do not say how numbers become light: browsers leave them too
    (gamma,) = struct.unpack(">I", found[b"gAMA"])
    corners = (
        tuple(value / 100_000 for value in struct.unpack(">8I", found[b"cHRM"])) if b"cHRM" in found else cicp.BT709
    )
    if (
        not 1_000 <= gamma <= 1_000_000
        or not _are_sound(corners)
        or (gamma == _GAMMA_OF_SRGB and corners == cicp.BT709)
    ):
        return None
    return ColourSpace(corners, -100_000 / gamma)


def _are_sound(corners: tuple[float, ...]) -> bool:
    """Whether chromaticities span a triangle with white inside: others come from broken writers."""
    (wx, wy), *rgb = zip(corners[::2], corners[1::2], strict=True)
    sides = [
        (bx - ax) * (wy - ay) - (by - ay) * (wx - ax)
        for (ax, ay), (bx, by) in zip(rgb, [*rgb[1:], rgb[0]], strict=True)
    ]
    return (
        all(0 <= x <= 1 and 0.001 < y <= 1 for x, y in ((wx, wy), *rgb))
        and min(map(abs, sides)) > 1e-4
        and (len({side > 0 for side in sides}) == 1)
    )


# JPEG


def _is_adobe_rgb(raw: bytes) -> bool:
    """Cameras that write no profile mark Adobe RGB by the interoperability index R03 (DCF 2.0)."""
    at = raw.find(b"Exif\0\0", 0, 4096)
    return at > 0 and b"R03\0" in raw[at : at + 65536]


# HEIF and AVIF (ISO/IEC 14496-12, 23008-12)


def boxes(raw: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of the boxes that follow each other from ``at`` on."""
    end = len(raw)
    for _ in range(MAX_CHUNKS):
        if at + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", raw, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", raw, at + 8), 16
        size = size or end - at
        if size < head or at + size > end:
            return
        yield kind, b"" if kind == b"mdat" else raw[at + head : at + size]  # mdat is large, and never looked into
        at += size


def _heif_encoding(raw: bytes) -> ColourSpace | None:
    meta = dict(boxes(raw)).get(b"meta", b"")
    inside = dict(boxes(meta, 4))
    properties = dict(boxes(inside.get(b"iprp", b"")))
    held = list(boxes(properties.get(b"ipco", b"")))
    of_primary = _associated(properties.get(b"ipma", b""), _primary(inside.get(b"pitm", b"")))
    for index in of_primary:
        kind, body = held[index - 1] if 0 < index <= len(held) else (b"", b"")
        if kind == b"colr" and body[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            return cicp.encoding_of(primaries, transfer)
    return None


def _primary(pitm: bytes) -> int:
    """The item that is the picture."""
    return int.from_bytes(pitm[4 : 6 if pitm[:1] == b"\0" else 8], "big")


def _associated(ipma: bytes, item: int) -> list[int]:
    """The properties of ``item``, counted from 1."""
    wide_items, wide_indices = ipma[:1] > b"\0", bool(ipma[3:4] and ipma[3] & 1)
    (count,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(min(count, MAX_CHUNKS)):
        id = int.from_bytes(ipma[at : at + (4 if wide_items else 2)], "big")
        at += 4 if wide_items else 2
        size = 2 if wide_indices else 1
        indices = [ipma[at + 1 + size * i : at + 1 + size * (i + 1)] for i in range(ipma[at])]
        at += 1 + size * len(indices)
        if id == item:
            mask = 0x7FFF if wide_indices else 0x7F
            return [int.from_bytes(index, "big") & mask for index in indices]
    return []
