"""Which picture formats are read, and what to say about the others."""

from __future__ import annotations

from PIL import Image

ALLOWED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def decoders() -> list[str]:
    """The allowed formats this installation of Pillow can read (AVIF and WebP are optional parts of it)."""
    Image.init()
    return [name for name in ALLOWED if name in Image.OPEN]


def why_unreadable(data: bytes) -> str:
    """One sentence about bytes that no decoder recognised, naming what to do instead."""
    head = data[:4096]
    kind = _kind(head)
    if kind:
        return f"{kind} Formats that work: {READABLE}."
    if head.startswith(_MAGIC) or head[8:12] in (b"WEBP", b"avif", b"avis"):
        return "The picture is damaged or incomplete and cannot be read: save it again, or send another."
    return f"This file is not a picture that can be read. Formats that work: {READABLE}."


def _kind(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIC_BRANDS:
            return "HEIC pictures are not supported: save it as JPEG first."
        if head[8:12] not in (b"avif", b"avis"):
            return "This is a video, not a picture: send one frame of it."
        return None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG drawings are not supported: export it as PNG first."
    if head.startswith(b"%PDF"):
        return "PDF documents are not supported: export the page as PNG first."
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "This is a video, not a picture: send one frame of it."
    if _is_text(head):
        return "This is a text file, not a picture, whatever its name says."
    return None


def _is_text(head: bytes) -> bool:
    try:
        # The last bytes may cut a character in two.
        text = head.decode("utf-8") if len(head) < 4096 else head[:-4].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)
