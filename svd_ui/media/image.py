"""Pictures as people have them -> clean RGB, or one sentence on why not; and the one crop that page and model share."""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageColor

from ..errors import BadInput, BadPicture
from ..notes import Note
from . import mending
from .footage import FIRST, Moment, footage
from .reading import Picture, Reader
from .signatures import refusal, video_format, why_unreadable

if TYPE_CHECKING:
    from ..clip import ClipSpec

MB = 1_000_000
Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of a picture, with fractions."""
MUCH_KEPT = 0.7
"""Of a picture by a crop; with less the clip shows something else than its owner expects."""


def load(
    data: bytes | Path,
    *,
    max_bytes: int,
    max_pixels: int,
    background: str = "#ffffff",
    moment: Moment | None = None,
) -> Picture:
    """Decode an upload: upright, sRGB, 8 bit, opaque on ``background``; of a clip the frame at ``moment``, or the first.

    Limits are checked before anything is decoded. Raises BadPicture (field ``image``) with one sentence, BadInput for a
    moment that is not there.
    """
    fill = _colour(background)
    reader = Reader(max_pixels, fill, background)
    name = data.name if isinstance(data, Path) else ""
    if isinstance(data, Path):
        head = _head(data)
        if moment is not None or video_format(head):
            return _frame(data, reader, moment)  # not read whole: clips are long
        _refuse(head, name)  # before its size is: raw files are large
    raw = _bytes(data, max_bytes)
    if moment is not None or video_format(raw):
        return _frame(raw, reader, moment)
    _refuse(raw, name)
    try:
        return reader.picture(raw)
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise BadPicture("The picture is too large to be read: send a smaller one.") from error
    except Exception:  # decoders fail in a dozen ways on bytes that are not what they claim
        return _mended(raw, reader, why_unreadable(raw))


def _refuse(raw: bytes, name: str) -> None:
    refused = refusal(raw, name)
    if refused:
        raise BadPicture(refused)


def _frame(source: bytes | Path, reader: Reader, moment: Moment | None) -> Picture:
    with footage(source, reader) as clip:
        if clip is None:
            raise BadInput("This is one picture, not a clip: leave the frame blank.", field="frame")
        return clip.at(moment or FIRST)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            return file.read(64)
    except (OSError, ValueError):
        return b""  # what is wrong with it is said where it is read


def _mended(raw: bytes, reader: Reader, why: str) -> Picture:
    """What can be seen of a picture that does not decode as it is. Raises BadPicture saying ``why`` else."""
    mended = mending.mend(raw, reader.max_pixels)
    if mended.missing > mending.MOST_MISSING:
        raise BadPicture(
            f"The picture is damaged or incomplete: its file ends early, and {mended.missing:.0%} of it are missing. "
            "Copy it again, or send another."
        )
    if mended.data is raw:
        raise BadPicture(why)
    try:
        picture = reader.picture(mended.data, mended.missing)
    except BadInput:
        raise
    except Exception as error:
        raise BadPicture(why) from error
    return Picture(picture.image, (*mended.notes, *picture.notes))


def crop_box(size: tuple[int, int], width: int, height: int, focus_x: float = 0.5, focus_y: float = 0.5) -> Box:
    """The largest part of ``size`` with the aspect width:height about the focus.

    The focus (0..1 across and down) is the middle of the crop as far as the edges allow. Fractions of pixels
    stay, so that the aspect is exact however small the picture is.
    """
    w, h = size
    scale = min(w / width, h / height)
    crop_w, crop_h = min(float(w), width * scale), min(float(h), height * scale)
    left = min(max(focus_x * w - crop_w / 2, 0.0), w - crop_w)
    top = min(max(focus_y * h - crop_h / 2, 0.0), h - crop_h)
    return left, top, min(left + crop_w, float(w)), min(top + crop_h, float(h))


def crop_of(clip: ClipSpec, picture: tuple[int, int]) -> Box:
    """Which part of the kept ``picture`` of that (width, height) the still of ``clip`` is cut from."""
    return crop_box(picture, clip.width, clip.height, clip.focus_x, clip.focus_y)


def cropped(picture: tuple[int, int], width: int, height: int) -> Note | None:
    """What to say where a clip of that size keeps a small part of a ``picture``."""
    left, top, right, bottom = crop_box(picture, width, height)
    kept = (right - left) * (bottom - top) / (picture[0] * picture[1])
    if kept >= MUCH_KEPT:
        return None
    given = f"{picture[0]}x{picture[1]}"
    return Note.of("picture_cropped", given=given, width=width, height=height, kept=kept)


def fit(image: Image.Image, width: int, height: int, focus_x: float = 0.5, focus_y: float = 0.5) -> Image.Image:
    """Exactly ``width`` x ``height`` RGB: what the model sees, and what the page shows before it does."""
    box = crop_box(image.size, width, height, focus_x, focus_y)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, box=box)


def _bytes(data: bytes | Path, max_bytes: int) -> bytes:
    if isinstance(data, Path):
        raw = _file(data, max_bytes)
    elif isinstance(data, bytes | bytearray | memoryview):
        raw = bytes(data)
    else:
        raise BadPicture("A path on the server is not accepted: upload the picture itself.")
    if not raw:
        raise BadPicture("The file is empty.")
    if len(raw) > max_bytes:
        raise _too_many_bytes(len(raw), max_bytes)
    return raw


def _file(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadPicture(f"{path.name or path} is not a file.")
        if status.st_size > max_bytes:
            raise _too_many_bytes(status.st_size, max_bytes)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadPicture(f"There is no file {path.name}.") from error
    except (OSError, ValueError) as error:
        raise BadPicture(f"The file {path.name} cannot be opened.") from error


def _too_many_bytes(size: int, max_bytes: int) -> BadPicture:
    rounded_up = math.ceil(10 * size / MB) / 10  # never "50.0 MB; at most 50.0 MB"
    return BadPicture(
        f"The file has {rounded_up:.1f} MB; at most {max_bytes / MB:.1f} MB are accepted. Send a smaller one."
    )


def _colour(name: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getcolor(name, "RGB")[:3]  # type: ignore[index, return-value]
    except (ValueError, TypeError) as error:
        raise BadInput(f"'{str(name)[:40]}' is not a colour: use one like #ffffff.", field="background") from error
