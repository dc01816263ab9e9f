"""A picture's bytes -> upright, sRGB, 8 bit, opaque: every kind of file by the decoder that reads it whole."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageOps

from ..errors import BadPicture
from ..notes import Note
from . import colour, mending, metadata, tiff
from .cicp import ColourSpace
from .memory import give_back

ALLOWED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
LONGEST_SIDE = 4096
SMALL_SIDE = 64
NARROW = 4.0
USUAL_BYTES = 8
"""Of a pixel: one with more counts as several of them against the limit."""
LARGE = 16_000_000
"""Pixels from which on one picture is decoded at a time: each takes several hundred MB for a moment."""
_ONE_LARGE = threading.Lock()
_SHRINKS = ("L", "RGB", "CMYK", "LA", "RGBA")
"""Modes whose numbers may be averaged."""


@dataclass(frozen=True)
class Picture:
    """``image`` is upright RGB of at most LONGEST_SIDE; ``notes`` say what was changed or is unusual about it."""

    image: Image.Image
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Reader:
    """``fill`` is what ``background`` names, 0..255 each."""

    max_pixels: int
    fill: tuple[int, int, int] = (255, 255, 255)
    background: str = "#ffffff"

    def picture(self, raw: bytes, missing: float = 0.0) -> Picture:
        """The first frame of ``raw``; ``missing`` is the share of its rows that are not there.

        Limits are checked before anything is decoded, and large pictures wait for each other. Raises BadPicture, and whatever
        decoders raise.
        """
        return self._decoded(raw, missing) if self._size(raw) <= LARGE else self._in_turn(raw, missing)

    def _size(self, raw: bytes) -> int:
        """Pixels, from the header alone. Raises BadPicture for more than is accepted."""
        found = tiff.tags(raw)
        if found:  # some kinds are no pictures to Pillow
            size = found[tiff.WIDTH][0], found[tiff.HEIGHT][0]
            self.check(size, tiff.bytes_per_pixel(found))
            return size[0] * size[1]
        with Image.open(io.BytesIO(raw), formats=decoders()) as image:
            self.check(image.size)
            return int(image.width * image.height)

    def _in_turn(self, raw: bytes, missing: float) -> Picture:
        with _ONE_LARGE:
            try:
                return self._decoded(raw, missing)
            finally:
                give_back()

    def _decoded(self, raw: bytes, missing: float) -> Picture:
        found = tiff.tags(raw)
        if found:
            wide = colour.read_deep(raw, "TIFF", None)
            if wide is not None:
                wide.info.update(tiff.info(found))
                return self.finished(wide, [Note.of("first_page_only")] if tiff.has_more_pages(raw) else [])
        with Image.open(io.BytesIO(raw), formats=decoders()) as image:
            notes = [*_frame_notes(image), *metadata.extras(raw)]  # the second frame's header may enlarge a GIF
            self.check(image.size)
            encoding, size = metadata.encoding_of(raw, bool(image.info.get("icc_profile"))), image.size
            if encoding is not None and encoding.is_hdr:
                notes.append(Note.of("hdr_mapped"))
            wide = colour.read_deep(raw, image.format, encoding)
            if wide is not None:
                kept = ("exif",) if encoding is not None else ("exif", "icc_profile")
                wide.info.update({name: image.info[name] for name in kept if name in image.info})
                return self.finished(mending.filled(wide, missing), notes)
            image.seek(hidden_pictures(image))
            image.draft(None, _bounded(image.size))  # JPEG decodes at 1/2, 1/4 or 1/8 where that is enough
            image.load()
            return self.finished(mending.filled(image, missing), notes, size, encoding)

    def finished(
        self,
        image: Image.Image,
        notes: list[Note],
        original: tuple[int, int] | None = None,
        encoding: ColourSpace | None = None,
    ) -> Picture:
        """A decoded picture with its ``info``. ``original`` is its size before a decoder reduced it, ``encoding`` what is
        still to be applied.
        """
        before = image.size
        original = original or before
        upright = _upright(image)
        notes = notes + _shape_notes(original if upright.size == before else original[::-1])
        if upright.mode in _SHRINKS and "transparency" not in upright.info:
            upright = _shrunk(upright)  # before the colour work, which is slower
        rgba = _shrunk(colour.to_rgba(upright, encoding))
        if rgba.mode == "RGBA":
            notes.append(Note.of("background_filled", background=self.background))
        clean = colour.flatten(rgba, self.fill)
        clean.info.clear()
        return Picture(clean, tuple(notes))

    def check(self, size: tuple[int, int], bytes_per_pixel: int = USUAL_BYTES) -> None:
        """Raises BadPicture for what is larger than is accepted."""
        w, h = size
        if w < 1 or h < 1:
            raise BadPicture("The picture has no pixels.")
        if w * h * max(1.0, bytes_per_pixel / USUAL_BYTES) > self.max_pixels:
            channels = "" if bytes_per_pixel <= USUAL_BYTES else f" of {bytes_per_pixel} bytes"
            raise BadPicture(
                f"The picture has {w} x {h} pixels{channels}; at most {self.max_pixels / 1e6:.0f} million pixels are "
                "accepted. Send a smaller one."
            )


def hidden_pictures(image: Image.Image) -> int:
    """1 for an APNG with a picture in front that is shown only by what plays no animations."""
    return int(bool(getattr(image, "default_image", False)))


@contextmanager
def animated(source: bytes | Path) -> Iterator[Image.Image | None]:
    """The animation in ``source``; None for what is none, or no picture at all."""
    try:
        image = Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source,
            formats=[name for name in decoders() if name in ANIMATED],
        )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        yield None
        return
    with image:
        yield image if getattr(image, "n_frames", 1) > 1 else None


@cache
def decoders() -> list[str]:
    """The allowed formats this installation of Pillow can read (AVIF, WebP and HEIF are optional)."""
    Image.init()
    try:
        import pi_heif
    except ImportError:  # where there is no wheel of it
        pass
    else:
        pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return [name for name in ALLOWED if name in Image.OPEN]


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says, in its place: a copy would double what a large one takes. Broken EXIF leaves it as it is stored."""
    with suppress(Exception):  # parsed from the file, fails as variously as the pixels do
        ImageOps.exif_transpose(image, in_place=True)
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
    if image.format == "HEIF":
        return [Note.of("main_picture_only")]
    return [Note.of("first_page_only") if image.format == "TIFF" else Note.of("first_frame_only")]


def _shape_notes(size: tuple[int, int]) -> list[Note]:
    w, h = size
    notes = []
    if min(size) < SMALL_SIDE:
        notes.append(Note.of("picture_tiny", width=w, height=h))
    if max(size) > NARROW * min(size):
        notes.append(Note.of("picture_very_wide") if w > h else Note.of("picture_very_tall"))
    return notes
