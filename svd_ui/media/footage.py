"""Clips as people have them -> upright sRGB frames, as a browser shows them.

Stills taken from a clip and clips to train on both come in here. Videos are read with FFmpeg, animations (gif, webp,
apng, avif) with the decoders of pictures.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput, BadPicture, SvdUiError
from ..notes import Note
from . import cicp, colour
from .reading import Picture, Reader, animated, hidden_pictures
from .signatures import video_format

MAX_SECONDS = 20.0
"""Of looking for one frame."""
UNTOLD_FPS = 25.0
_HD = 720
"""From this height on the matrix of a video that does not tell it is BT.709, as in browsers."""
_BT709 = 1
_LIKE_BT709 = {5, 6, 7}
"""Primaries of television that differ from sRGB's less than screens do from each other."""
VIDEO_PEAK = cicp.HLG_PEAK_NITS / cicp.WHITE_NITS
"""The same for all frames: a curve that follows each of them would make the clip flicker."""


@dataclass(frozen=True)
class FootageFacts:
    """``num_frames`` is what the file says or its length gives; the frames there are may be a few more or less."""

    width: int
    height: int
    num_frames: int
    fps: float


@dataclass(frozen=True)
class Moment:
    """A frame of a clip: by its ``index``, by ``seconds``, or where both are None the last one."""

    index: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, text: str) -> Moment:
        """``first``, ``last``, ``12`` or ``1.5s``. Raises BadInput."""
        word = text.strip().lower()
        if word in ("first", "last"):
            return FIRST if word == "first" else LAST
        if re.fullmatch(r"\d{1,9}", word):
            return cls(index=int(word))
        if re.fullmatch(r"\d{1,6}(\.\d{1,6})?s", word):
            return cls(seconds=float(word[:-1]))
        raise BadInput(
            f"'{text[:40]}' is no frame: say first, last, its number counted from 0, or its time, such as 1.5s.",
            field="frame",
        )


FIRST, LAST = Moment(index=0), Moment()


class Footage(Protocol):
    """An open clip."""

    @property
    def facts(self) -> FootageFacts: ...

    def frames(self) -> Iterator[Image.Image]:
        """All of them from the beginning."""

    def at(self, moment: Moment) -> Picture:
        """One frame. Raises BadInput where there is none such."""


@contextmanager
def footage(source: bytes | Path, reader: Reader) -> Iterator[Footage | None]:
    """The clip in ``source``, or None for what is none. Raises BadPicture where it cannot be read, here or within."""
    kind = video_format(_head(source))
    try:
        if kind:
            import av  # only where a clip is opened: the page starts without it

            where = io.BytesIO(source) if isinstance(source, bytes) else str(source.absolute())
            # With its format named, FFmpeg does not take the file for a list of others and open these.
            with av.open(where, "r", format=kind) as container:
                yield _Video(container, reader)
        else:
            with animated(source) as image:
                yield None if image is None else _Animation(image, reader)
    except SvdUiError:
        raise
    except Exception as error:  # decoders fail in a dozen ways on bytes that are not what they claim
        what = "video" if kind else "animation"
        raise BadPicture(
            f"This {what} is damaged or incomplete and cannot be read: save it again, or send another."
        ) from error


def _head(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:64]
    try:
        with source.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise BadPicture(f"The file {source.name} cannot be opened.") from error


def _no_such_frame(last: int) -> BadInput:
    return BadInput(f"The clip has {last + 1} frames: choose one of 0 to {last}, or last.", field="frame")


class _Video:
    def __init__(self, container: Any, reader: Reader) -> None:
        from av.video.reformatter import VideoReformatter

        if not container.streams.video:
            raise BadPicture("The clip holds no pictures, only sound: send another.")
        self._container, self._reader = container, reader
        self._stream = container.streams.best("video")  # not the picture on a cover
        self._stream.thread_type = "AUTO"
        self._reformatter = VideoReformatter()  # one for all frames: setting it up costs more than a frame
        codec = self._stream.codec_context
        reader.check((codec.width, codec.height))
        codec.options = {"max_pixels": str(reader.max_pixels)}  # of frames that turn out larger than the file says
        self._has_alpha = codec.name in ("vp8", "vp9") and self._stream.metadata.get("alpha_mode") == "1"
        self._start = float((self._stream.start_time or 0) * self._stream.time_base)
        self._end = 0.0
        """When its last frame is shown, where that was looked for."""
        self._first = self._decoded_at(FIRST)[0]
        self._rate = float(self._stream.average_rate or self._stream.guessed_rate or UNTOLD_FPS)

    @cached_property
    def facts(self) -> FootageFacts:
        return FootageFacts(*self._shown(self._first).size, self._count(self._rate), self._rate)

    def frames(self) -> Iterator[Image.Image]:
        self._rewind()
        for frame in self._decoded():
            yield self._shown(frame)

    def at(self, moment: Moment) -> Picture:
        frame, index = self._decoded_at(moment)
        seconds = max(0.0, (frame.time or 0.0) - self._start)
        said = Note.of("clip_frame", index=round(seconds * self._rate) if index is None else index, seconds=seconds)
        picture = self._reader.finished(self._upright(frame), [said])
        notes = (Note.of("hdr_mapped"),) if self._encoding(frame).is_hdr else ()
        return Picture(picture.image, (*picture.notes, *notes))

    def _count(self, rate: float) -> int:
        """As the file says, else counted without decoding: recordings of browsers tell no length, and others a wrong one."""
        if self._stream.frames:
            return int(self._stream.frames)
        self._rewind()
        count, until = 0, _until()
        for packet in self._container.demux(self._stream):
            count += packet.pts is not None
            self._end = max(self._end, float(packet.pts * packet.time_base) if packet.pts is not None else 0.0)
            if time.monotonic() > until:
                return max(count, round(self._length() * rate))
        return max(1, count)

    def _rewind(self) -> None:
        self._container.seek(0, backward=True)

    def _decoded(self) -> Iterator[Any]:
        for frame in self._with_alpha() if self._has_alpha else self._container.decode(self._stream):
            self._reader.check((frame.width, frame.height))  # may change on the way
            yield frame

    def _with_alpha(self) -> Iterator[Any]:
        """VP8 and VP9 carry transparency beside the picture, where only the codecs' own library reads it."""
        from av.codec import CodecContext

        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[self._stream.codec_context.name]
        decoder: Any = CodecContext.create(name, "r")  # a new one wherever reading begins
        decoder.options = dict(self._stream.codec_context.options)
        for packet in self._container.demux(self._stream):
            yield from decoder.decode(packet)

    def _decoded_at(self, moment: Moment) -> tuple[Any, int | None]:
        """(the frame, its number where it was counted)."""
        if moment.index is not None:
            return self._counted(moment.index)
        last = self._end or self._start + (self._length() or 1e6)
        seconds = last if moment.seconds is None else self._start + moment.seconds
        found = self._timed(seconds, back=0.0) or self._timed(seconds, back=2.0) or self._from_the_beginning(seconds)
        if found is None:
            raise BadPicture("No frame of the clip can be read there: choose another moment.")
        return found, None

    def _length(self) -> float:
        """In seconds; 0 where the file does not say."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return float((self._container.duration or 0) / 1_000_000)

    def _counted(self, index: int) -> tuple[Any, int]:
        self._rewind()
        last, until = -1, _until()
        for last, frame in enumerate(self._decoded()):
            if last == index:
                return frame, index
            _in_time(until)
        if last < 0:
            raise BadPicture("The clip is damaged or incomplete, and no frame of it can be read: save it again.")
        raise _no_such_frame(last)

    def _timed(self, seconds: float, back: float) -> Any | None:
        """The frame that is shown at ``seconds``, sought from the key frame before; None where that lies behind it."""
        target = max(self._start, seconds - back)
        try:
            self._container.seek(int(target / self._stream.time_base), stream=self._stream, backward=True)
        except (OSError, ValueError, OverflowError):
            return None
        return self._last_until(seconds)

    def _from_the_beginning(self, seconds: float) -> Any | None:
        self._rewind()
        return self._last_until(seconds)

    def _last_until(self, seconds: float) -> Any | None:
        found, until = None, _until()
        for frame in self._decoded():
            if frame.time is not None and frame.time > seconds + 1e-4:
                break
            found = frame
            _in_time(until)
        return found

    def _encoding(self, frame: Any) -> cicp.ColourSpace:
        primaries = int(frame.color_primaries)
        return cicp.encoding_of(_BT709 if primaries in _LIKE_BT709 else primaries, int(frame.color_trc))

    def _shown(self, frame: Any) -> Image.Image:
        return colour.flatten(self._upright(frame), self._reader.fill)

    def _upright(self, frame: Any) -> Image.Image:
        """RGB or RGBA, turned as the container says, pixels square, its colours those of sRGB."""
        encoding = self._encoding(frame)
        untold = int(frame.colorspace) in (2, 3) and frame.height >= _HD
        wide, clear = not encoding.is_srgb, any(part.is_alpha for part in frame.format.components)
        kind = ("rgba64le" if clear else "rgb48le") if wide else "rgba" if clear else "rgb24"
        matrix = _BT709 if untold else None
        values: NDArray[Any] = self._reformatter.reformat(frame, format=kind, src_colorspace=matrix).to_ndarray()
        if wide:
            converted = cicp.to_srgb(values[..., :3], encoding, peak=VIDEO_PEAK)
            values = np.concatenate([converted, colour.eight(values[..., 3:])], axis=-1) if clear else converted
        image = Image.fromarray(values)
        return _turned(_square(image, self._stream.sample_aspect_ratio), frame)


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the display matrix: a stored pixel x y is shown at a x + c y, b x + d y."""
    data = next((bytes(one) for one in frame.side_data if one.type.name == "DISPLAYMATRIX"), b"")
    if len(data) < 36:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5]
    return int(a), int(b), int(c), int(d)


def _turned(image: Image.Image, frame: Any) -> Image.Image:
    """By quarter turns and mirrored, which is all that cameras write."""
    a, b, c, d = _matrix(frame)
    if abs(b) > abs(a):
        image, a, d = image.transpose(Image.Transpose.TRANSPOSE), c, b
    if a < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if d < 0 else image


def _square(image: Image.Image, aspect: Any) -> Image.Image:
    """Stretched where stored pixels are not square, as on tapes and in some broadcasts."""
    ratio = float(aspect) if aspect else 1.0
    if not 0.2 < ratio < 5 or abs(ratio - 1) < 0.01:
        return image
    return image.resize((max(1, round(image.width * ratio)), image.height), Image.Resampling.BICUBIC)


def _until() -> float:
    return time.monotonic() + MAX_SECONDS


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise BadInput(
            "It takes too long to come to that frame: cut the clip shorter, or make it smaller.", field="image"
        )


class _Animation:
    def __init__(self, image: Any, reader: Reader) -> None:
        reader.check(image.size)
        self._image, self._reader = image, reader
        self._hidden = hidden_pictures(image)
        image.seek(self._hidden)
        first = self._frame()
        milliseconds = max(float(first.info.get("duration") or 100), 10.0)  # WebP tells it once its frame is decoded
        size = reader.finished(first, []).image.size
        self.facts = FootageFacts(*size, image.n_frames - self._hidden, 1000.0 / milliseconds)

    def frames(self) -> Iterator[Image.Image]:
        for index in range(self.facts.num_frames):
            self._image.seek(index + self._hidden)
            yield self._reader.finished(self._frame(), []).image

    def at(self, moment: Moment) -> Picture:
        last = self.facts.num_frames - 1
        index = last if moment == LAST else moment.index
        if index is None:
            index = min(last, int((moment.seconds or 0.0) * self.facts.fps + 1e-6))
        if index > last:
            raise _no_such_frame(last)
        until, target = _until(), index + self._hidden
        for step in range(min(self._image.tell(), target), target + 1):
            self._image.seek(step)
            _in_time(until)
        return self._reader.finished(
            self._frame(), [Note.of("clip_frame", index=index, seconds=index / self.facts.fps)]
        )

    def _frame(self) -> Image.Image:
        self._image.load()
        frame: Image.Image = self._image.copy()
        frame.info = dict(self._image.info)
        return frame
