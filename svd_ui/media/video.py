"""Clips as H.264 mp4 files that browsers play, with their settings inside; and their other forms, zips and animations."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import quoteattr

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput
from . import atomic

__all__ = [
    "Mp4Writer",
    "read_comment",
    "read_frames",
    "set_comment",
    "write_frames_zip",
    "write_gif",
    "write_poster",
    "write_webp",
]

Frames = NDArray[np.uint8]
_LAYOUT = {"movflags": "+faststart"}
BT709 = 1  # the same number for matrix, primaries and transfer in H.264
XMP_NAMESPACE = "https://svd-ui.local/ns/1.0/"
SHORTEST = 20  # ms; browsers slow animations with shorter frames down to 100 ms
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
            self._container = av.open(_local(temporary), "w", format="mp4", options=_LAYOUT)
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


def read_frames(path: Path, max_frames: int | None = None) -> Frames:
    """uint8 ``[F H W 3]`` RGB, the first ``max_frames`` of them. Raises BadInput when it is not a video."""
    frames: list[Any] = []
    reformatter = VideoReformatter()
    with _opened(path) as container:
        for frame in container.decode(video=0):
            if max_frames is not None and len(frames) >= max_frames:
                break
            frames.append(reformatter.reformat(frame, format="rgb24").to_ndarray())
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
        av.open(_local(path), "r") as old,
        av.open(_local(temporary), "w", format="mp4", options=_LAYOUT) as new,
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
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else _local(source), "r") as container:
            if not container.streams.video:
                raise _unreadable(source)
            yield container
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        raise _unreadable(source) from error


def _local(path: Path) -> str:
    """An absolute path: a bare name such as ``concat:a.mp4`` would be taken for one of FFmpeg's protocols."""
    return str(Path(path).absolute())


def _unreadable(source: Path | bytes) -> BadInput:
    name = "This" if isinstance(source, bytes) else Path(source).name
    return BadInput(f"{name} is not a video that can be read.")


def write_frames_zip(path: Path, frames: Iterable[Frames], comment: str = "") -> None:
    """Every frame ``[H W 3]`` as ``frame_0000.png`` ...; a ``comment`` goes beside them as settings.json."""
    # PNG is compressed already: the zip only bundles. Level 1 costs a few percent of size and saves most of the time.
    with atomic(Path(path)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for index, frame in enumerate(frames):
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
            archive.writestr(f"frame_{index:04d}.png", buffer.getvalue())
        if comment:
            archive.writestr("settings.json", comment)


def write_gif(path: Path, frames: Iterable[Frames], fps: float, comment: str = "") -> None:
    """An endless GIF; ``comment`` is its comment block. Colours are reduced to 256 per frame."""
    images = [Image.fromarray(frame).quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    _save_animation(path, images, "GIF", _durations(len(images), fps, unit=10), comment=comment.encode(), disposal=1)


def write_webp(path: Path, frames: Iterable[Frames], fps: float, comment: str = "") -> None:
    """An endless lossy WebP; ``comment`` sits in its XMP as the attribute ``svd_ui:settings``."""
    images = [Image.fromarray(frame) for frame in frames]
    durations = _durations(len(images), fps, unit=1)
    _save_animation(path, images, "WEBP", durations, quality=85, method=4, xmp=_xmp(comment) if comment else b"")


def _save_animation(path: Path, images: list[Image.Image], kind: str, durations: list[int], **options: object) -> None:
    if not images:
        raise ValueError("an animation needs at least one frame")
    first, *rest = images
    with atomic(Path(path)) as temporary:
        first.save(temporary, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)


def _durations(count: int, fps: float, unit: int) -> list[int]:
    """Milliseconds per frame in multiples of ``unit``, rounded so that the whole clip keeps its length."""
    ends = [round(1000 * (i + 1) / fps / unit) * unit for i in range(count)]
    return [max(SHORTEST, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _xmp(comment: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:svd_ui="{XMP_NAMESPACE}" svd_ui:settings={quoteattr(comment)}/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
