"""What a file is by its first bytes, and of those that are no picture one sentence on what to do instead."""

from __future__ import annotations

import codecs

from . import tiff

READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC; clips as mp4, mov, webm or mkv"
DAMAGED = "The picture is damaged or incomplete and cannot be read: save it again, or send another."

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW_MAGIC = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR")
_RAW_ENDINGS = tuple(
    ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
_WORK = f"Formats that work: {READABLE}."
_SOUND = f"This is a sound, not a picture. {_WORK}"
_FOREIGN: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("JPEG 2000 pictures are not read here: export it as PNG or JPEG first.", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("Icons are not read here: export it as PNG first.", (b"\0\0\1\0", b"icns")),
    ("Photoshop documents are not supported: export it as PNG first.", (b"8BPS",)),
    ("GIMP's documents are not supported: export it as PNG first.", (b"gimp xcf",)),
    (
        "Pictures of this kind (EXR, Radiance, QOI, DDS, Netpbm) are not read here: export it as PNG, or as 16-bit TIFF.",
        (
            b"\x76\x2f\x31\1",
            b"#?RADIANCE",
            b"#?RGBE",
            b"qoif",
            b"DDS ",
            *(b"P%d" % n + end for n in range(1, 8) for end in (b"\n", b" ")),
        ),
    ),
    ("PDF documents are not supported: export the page as PNG first.", (b"%PDF",)),
    ("PostScript is not supported: export it as PNG first.", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    (
        "Videos of this kind (MPEG, Windows Media, Flash, Ogg) are not read here: save it as mp4 first.",
        (b"\0\0\1\xba", b"\0\0\1\xb3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\1", b"OggS"),
    ),
    (_SOUND, (b"ID3", b"fLaC", b"\xff\xfb", b"#!AMR")),
    (
        "This is an archive, or a document in one: take the picture out of it, and send that.",
        (b"PK\3\4", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b", b"\xd0\xcf\x11\xe0"),
    ),
)
"""What people send that is neither a picture nor a clip we read, and what to do instead, by its first bytes."""
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def video_format(head: bytes) -> str | None:
    """FFmpeg's name of the container of a clip, or None. Only these: other formats of FFmpeg's can name further files."""
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"crx ") and not _is_heif(head):
        return "mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):  # QuickTime of before there was ftyp
        return "mp4"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    return "avi" if head[:4] == b"RIFF" and head[8:12] == b"AVI " else None


def _is_heif(head: bytes) -> bool:
    """By its main brand, or by one of those it is compatible with."""
    return head[8:12] in _HEIC_BRANDS or b"mif1" in head[16 : max(16, min(64, int.from_bytes(head[:4], "big")))]


def refusal(raw: bytes, name: str = "") -> str | None:
    """Why ``raw`` is not tried at all: it would open as something else than what its owner sees in it."""
    is_tiff = raw[:4] in _MAGIC[4:]
    if (
        raw.startswith(_RAW_MAGIC)
        or raw[4:12] == b"ftypcrx "
        or (is_tiff and (raw[8:10] == b"CR" or name.lower().endswith(_RAW_ENDINGS) or tiff.is_camera_raw(raw)))
    ):
        return (
            "This is a camera's raw file, which holds no finished picture: develop it, "
            "or export it as JPEG or 16-bit TIFF, and send that."
        )
    if raw.startswith(_JXL):
        return "JPEG XL pictures are not read here: export it as JPEG, PNG or AVIF first."
    return None


def why_unreadable(data: bytes) -> str:
    """One sentence about bytes that no decoder recognised, naming what to do instead."""
    head = data[:4096]
    if head[4:8] == b"ftyp" and _is_heif(head) and head[8:12] not in (b"avif", b"avis"):
        return (
            "This HEIC picture is damaged or incomplete, or of a kind that cannot be read: save it as JPEG first, "
            "or send another."
        )
    if head[:4] in _MAGIC[4:]:
        return (
            "This TIFF is damaged or incomplete, or of a kind that cannot be read: save it as RGB of 8 or 16 bits, "
            "or as PNG."
        )
    kind = _kind(head)
    if kind:
        return kind
    if head.startswith(_MAGIC) or head[8:12] in (b"WEBP", b"avif", b"avis"):
        return DAMAGED
    return f"This file is not a picture that can be read. {_WORK}"


def _kind(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG drawings are not supported: export it as PNG first."
    for sentence, beginnings in _FOREIGN:
        if head.startswith(beginnings):
            return sentence
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _SOUND
    if _is_text(head):
        return f"This is a text file, not a picture, whatever its name says. {_WORK}"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last bytes may cut a character in two
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)
