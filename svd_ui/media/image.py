"""Pictures as people have them -> clean RGB, what to say about those that cannot be read, and the one crop that page
and model share.
"""

from __future__ import annotations

import io
import math
import stat
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ..errors import BadInput, BadPicture
from ..notes import Note
from . import colour

__all__ = ["LONGEST_SIDE", "READABLE", "Picture", "crop_box", "fit", "load"]

ALLOWED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
LONGEST_SIDE = 4096
SMALL_SIDE = 64
NARROW = 4.0
MB = 1_000_000


@dataclass(frozen=True)
class Picture:
    """``image`` is upright RGB of at most LONGEST_SIDE; ``notes`` say what was changed or is unusual about it."""

    image: Image.Image
    notes: tuple[Note, ...] = ()


def load(data: bytes | Path, *, max_bytes: int, max_pixels: int, background: str = "#ffffff") -> Picture:
    """Decode an upload: upright, sRGB, 8 bit, opaque on ``background``, first frame only.

    Limits are checked before anything is decoded. Raises BadPicture (field ``image``) with one sentence.
    """
    fill = _colour(background)
    raw = _bytes(data, max_bytes)
    try:
        with Image.open(io.BytesIO(raw), formats=decoders()) as image:
            frames = _frame_notes(image)  # looks at the second frame's header, which may enlarge a GIF
            _check_size(image.size, max_pixels)
            return _decode(image, frames, fill, background)
    except BadInput:
        raise
    except UnidentifiedImageError as error:
        raise _bad(why_unreadable(raw)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise _bad("The picture is too large to be read: send a smaller one.") from error
    except Exception as error:  # decoders fail in a dozen ways on bytes that are not what they claim
        raise _bad(
            "The picture is damaged or incomplete and cannot be read: save it again, or send another."
        ) from error


def crop_box(
    size: tuple[int, int], width: int, height: int, focus_x: float = 0.5, focus_y: float = 0.5
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the largest part of ``size`` with the aspect width:height about the focus.

    The focus (0..1 across and down) is the middle of the crop as far as the edges allow. Fractions of pixels
    stay, so that the aspect is exact however small the picture is.
    """
    w, h = size
    scale = min(w / width, h / height)
    crop_w, crop_h = min(float(w), width * scale), min(float(h), height * scale)
    left = min(max(focus_x * w - crop_w / 2, 0.0), w - crop_w)
    top = min(max(focus_y * h - crop_h / 2, 0.0), h - crop_h)
    return left, top, min(left + crop_w, float(w)), min(top + crop_h, float(h))


def fit(image: Image.Image, width: int, height: int, focus_x: float = 0.5, focus_y: float = 0.5) -> Image.Image:
    """Exactly ``width`` x ``height`` RGB: what the model sees, and what the page shows before it does."""
    box = crop_box(image.size, width, height, focus_x, focus_y)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, box=box)


def _decode(image: Image.Image, frames: list[Note], fill: tuple[int, int, int], background: str) -> Picture:
    notes = list(frames)
    original = image.size
    image.draft(None, _bounded(image.size))  # JPEG decodes at 1/2, 1/4 or 1/8 where that is enough
    image.load()
    upright = _upright(image)
    notes += _shape_notes(original if upright.size == image.size else original[::-1])
    if upright.mode in ("L", "RGB", "CMYK", "LA", "RGBA") and "transparency" not in upright.info:
        upright = _shrunk(
            upright
        )  # before the colour work, which is slower; palettes and key colours cannot be averaged
    rgba = _shrunk(colour.to_rgba(upright))
    if rgba.mode == "RGBA":
        notes.append(Note.of("background_filled", background=background))
    clean = colour.flatten(rgba, fill)
    clean.info.clear()
    return Picture(clean, tuple(notes))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; a picture with broken EXIF stays as it is stored."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # parsed from the file, fails as variously as the pixels do
        return image


def _shrunk(image: Image.Image) -> Image.Image:
    size = _bounded(image.size)
    if size == image.size:
        return image
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = image.info
    return small


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    """``size`` scaled so that its longest side is at most LONGEST_SIDE."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _frame_notes(image: Image.Image) -> list[Note]:
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return []
    return [Note.of("first_page_only") if image.format == "TIFF" else Note.of("first_frame_only")]


def _shape_notes(size: tuple[int, int]) -> list[Note]:
    w, h = size
    notes = []
    if min(size) < SMALL_SIDE:
        notes.append(Note.of("picture_tiny", width=w, height=h))
    if max(size) > NARROW * min(size):
        notes.append(Note.of("picture_very_wide") if w > h else Note.of("picture_very_tall"))
    return notes


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    w, h = size
    if w < 1 or h < 1:
        raise _bad("The picture has no pixels.")
    if w * h > max_pixels:
        raise _bad(
            f"The picture has {w} x {h} pixels; at most {max_pixels / 1e6:.0f} million pixels are accepted. "
            "Send a smaller one."
        )


def _bytes(data: bytes | Path, max_bytes: int) -> bytes:
    if isinstance(data, Path):
        raw = _read(data, max_bytes)
    elif isinstance(data, bytes | bytearray | memoryview):
        raw = bytes(data)
    else:
        raise _bad("A path on the server is not accepted: upload the picture itself.")
    if not raw:
        raise _bad("The file is empty.")
    if len(raw) > max_bytes:
        raise _too_many_bytes(len(raw), max_bytes)
    return raw


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _bad(f"{path.name or path} is not a file.")
        if status.st_size > max_bytes:
            raise _too_many_bytes(status.st_size, max_bytes)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _bad(f"There is no file {path.name}.") from error
    except (OSError, ValueError) as error:
        raise _bad(f"The file {path.name} cannot be opened.") from error


def _too_many_bytes(size: int, max_bytes: int) -> BadPicture:
    rounded_up = math.ceil(10 * size / MB) / 10  # never "50.0 MB; at most 50.0 MB"
    return _bad(f"The file has {rounded_up:.1f} MB; at most {max_bytes / MB:.1f} MB are accepted. Send a smaller one.")


def _colour(name: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getcolor(name, "RGB")[:3]  # type: ignore[index, return-value]
    except (ValueError, TypeError) as error:
        raise BadInput(f"'{str(name)[:40]}' is not a colour: use one like #ffffff.", field="background") from error


def _bad(sentence: str) -> BadPicture:
    return BadPicture(sentence, field="image")


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
