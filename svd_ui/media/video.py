"""Clips as H.264 mp4 files that browsers play, with their settings inside; their other forms are in ``animation``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput
from . import atomic

Frames = NDArray[np.uint8]
_LAYOUT = {"movflags": "+faststart"}
BT709 = 1  # the same number for matrix, primaries and transfer in H.264
POSTER_SIDE = 640


class Mp4Writer:
    """Writes frames as they come: H.264, yuv420p, bt709 converted and tagged, index first (faststart).

        with Mp4Writer(path, 1024, 576, fps=7, comment=text) as writer:
            writer.add(frames)                       # uint8 [f H W 3], any number of times

    The file appears under ``path`` when the block ends well and never in part. H.264 in this layout has
    even sides only: an odd side is made one pixel longer by repeating its edge. Raises DiskFull.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float | Fraction, comment: str = "") -> None:
        self.path, self.width, self.height = Path(path), width, height
        self.fps = Fraction(fps).limit_denominator(1001)
        self.comment = comment
        self.count = 0
        self._stack = ExitStack()
        self._reformatter = VideoReformatter()  # one for all frames: setting it up costs more than a frame

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic(self.path))
            self._container = av.open(local(temporary), "w", format="mp4", options=_LAYOUT)
            stack.push(self._close)
            self._container.metadata["comment"] = self.comment
            self._stream = self._open_stream()
            self._stack = stack.pop_all()
        return self

    def add(self, frames: Frames) -> None:
        """Append uint8 ``[f H W 3]`` RGB (or one ``[H W 3]``)."""
        for frame in frames if frames.ndim == 4 else frames[None]:
            if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
                raise ValueError(f"expected uint8 {(self.height, self.width, 3)}, got {frame.dtype} {frame.shape}")
            picture = self._reformatter.reformat(
                av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(_even(frame)), format="rgb24"),  # not copied
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                dst_color_trc=ColorTrc.BT709,
                dst_color_primaries=ColorPrimaries.BT709,
            )
            picture.pts, picture.time_base = self.count, 1 / self.fps
            self._container.mux(self._stream.encode(picture))
            self.count += 1

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def _open_stream(self) -> Any:
        # x264's look-ahead (mbtree) gives other bits in every run where the processor has AVX-512 and the width is no
        # multiple of 64: same request, same file is worth the one step of quality that it costs.
        options = {"preset": "veryfast", "crf": "17", "x264-params": "mbtree=0"}
        stream: Any = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = int(ColorRange.MPEG)
        return stream

    def _close(self, kind: type[BaseException] | None, *error: object) -> None:
        """Flush and write the index; after an error only let go of the file."""
        if kind is not None:
            with suppress(Exception):
                self._container.close()
            return
        if not self.count:
            self._container.close()
            raise ValueError("a clip needs at least one frame")
        try:
            self._container.mux(self._stream.encode())
        except BaseException:
            with suppress(Exception):
                self._container.close()
            raise
        self._container.close()


def read_frames(path: Path) -> Frames:
    """uint8 ``[F H W 3]`` RGB. Raises BadInput when it is not a video."""
    reformatter = VideoReformatter()
    with _opened(path) as container:
        frames = [reformatter.reformat(frame, format="rgb24").to_ndarray() for frame in container.decode(video=0)]
    if not frames:
        raise _unreadable(path)
    return np.stack(frames)


def read_comment(source: Path | bytes) -> str | None:
    """The tag ``comment`` of a video file or its bytes, or None. Raises BadInput when it is not a video."""
    with _opened(source) as container:
        return container.metadata.get("comment") or None


def set_comment(path: Path, comment: str) -> None:
    """Give a clip another ``comment``, atomically; its pictures are copied, not encoded again. Raises DiskFull."""
    with (
        atomic(Path(path)) as temporary,
        av.open(local(path), "r") as old,
        av.open(local(temporary), "w", format="mp4", options=_LAYOUT) as new,
    ):
        new.metadata["comment"] = comment
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:  # the empty one at the end
                packet.stream = stream
                new.mux(packet)


def write_poster(path: Path, frame: Frames) -> None:
    """One frame ``[H W 3]`` as a JPEG of at most POSTER_SIDE pixels, atomically. Raises DiskFull."""
    image = Image.fromarray(frame)
    image.thumbnail((POSTER_SIDE, POSTER_SIDE), Image.Resampling.LANCZOS)
    with atomic(Path(path)) as temporary:
        image.save(temporary, "JPEG", quality=85, optimize=True, progressive=True)


def _even(frame: Frames) -> Frames:
    h, w = frame.shape[:2]
    return np.pad(frame, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge") if h % 2 or w % 2 else frame


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Any]:
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else local(source), "r") as container:
            if not container.streams.video:
                raise _unreadable(source)
            yield container
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        raise _unreadable(source) from error


def local(path: Path) -> str:
    """An absolute path: a bare name such as ``concat:a.mp4`` would be taken for one of FFmpeg's protocols."""
    return str(Path(path).absolute())


def _unreadable(source: Path | bytes) -> BadInput:
    name = "This" if isinstance(source, bytes) else Path(source).name
    return BadInput(f"{name} is not a video that can be read.")
