"""The other forms of a clip: a GIF or WebP that plays for ever, a zip of its frames. Frames are read one at a time."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import av
import numpy as np
from PIL import Image

from . import atomic, disk_full
from .gif_colours import GIF_COLOURS, FrameSequence, drawn, palette_of
from .video import Frames, local

XMP_NAMESPACE = "https://svd-ui.local/ns/1.0/"


class FrameSpool:
    """Frames in a file without a name, so that a clip of any length takes no memory. Raises DiskFull."""

    def __init__(self, folder: Path | None = None) -> None:
        """In ``folder``, or where the system keeps what is temporary."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - ``close`` closes it
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, frames: Frames) -> None:
        """Append uint8 ``[f H W 3]``, each of the same size."""
        self._shape = frames.shape[1:]
        with disk_full():
            self._file.seek(0, io.SEEK_END)
            self._file.write(np.ascontiguousarray(frames).data)
            self._file.flush()
        self._count += len(frames)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frames]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Frames:
        size = int(np.prod(self._shape))
        self._file.seek(index * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)

    def close(self) -> None:
        self._file.close()


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


def write_gif(path: Path, frames: FrameSequence, fps: float, comment: str = "") -> None:
    """An endless GIF; ``comment`` is its comment block. Times are in hundredths: above 50 fps frames are left out."""
    timing = _timing(len(frames), fps, unit=10, shortest=2)
    options = {"loop": "0", "final_delay": str(timing[-1][1])}
    palette = palette_of(frames)
    pixels = np.zeros((256, 4), np.uint8)  # alpha first
    pixels[:GIF_COLOURS, 0], pixels[: len(palette), 1:] = 255, palette
    with atomic(Path(path)) as temporary:
        indexed = ((indices, pixels) for indices in drawn((frames[index] for index, _ in timing), palette))
        _encode(temporary, "gif", "gif", "pal8", indexed, timing, 100, options)
        data = temporary.read_bytes()
        head = 13 + 3 * 2 ** ((data[10] & 7) + 1)  # signature, screen and the clip's colours
        temporary.write_bytes(data[:head] + _gif_comment(comment) + data[head:])


def write_webp(path: Path, frames: FrameSequence, fps: float, comment: str = "") -> None:
    """An endless lossy WebP; ``comment`` sits in its XMP as the attribute ``svd_ui:settings``."""
    timing = _timing(len(frames), fps, unit=1, shortest=11)
    options = {"quality": "85", "compression_level": "4", "loop": "0"}
    with atomic(Path(path)) as temporary:
        _encode(temporary, "webp", "libwebp_anim", "bgra", (frames[at] for at, _ in timing), timing, 1000, options)
        if comment:
            temporary.write_bytes(_with_xmp(temporary.read_bytes(), _xmp(comment), frames[0].shape))


def _encode(
    path: Path,
    kind: str,
    codec: str,
    format: str,
    frames: Iterator[Any],
    timing: list[tuple[int, int]],
    rate: int,
    options: dict[str, str],
) -> None:
    """``frames``, in what ``format`` takes, each as long as ``timing`` says in units of 1 / ``rate`` seconds."""
    start = 0
    muxer = {name: value for name, value in options.items() if kind == "gif" or name == "loop"}
    with av.open(local(path), "w", format=kind, options=muxer) as container:
        stream: Any = None
        for frame, (_, duration) in zip(frames, timing, strict=True):
            form = "pal8" if format == "pal8" else "rgb24"
            picture = av.VideoFrame.from_ndarray(frame, format=form)
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options)
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, format
                stream.codec_context.time_base = Fraction(1, rate)
            picture = picture if form == format else picture.reformat(format=format)
            picture.pts, picture.time_base, picture.duration = start, Fraction(1, rate), duration
            container.mux(stream.encode(picture))
            start += duration
        container.mux(stream.encode())


def _timing(count: int, fps: float, unit: int, shortest: int) -> list[tuple[int, int]]:
    """(index, duration) of the frames that are shown; durations in ``unit`` milliseconds, the whole as long as the clip.

    Browsers show a frame that is shorter than ``shortest`` for a tenth of a second: then every so many are left out.
    """
    if not count:
        raise ValueError("an animation needs at least one frame")
    total = round(1000 * count / fps / unit)
    shown = min(count, max(total // shortest, 2))
    total = max(total, shown * shortest)
    ends = [round(total * index / shown) for index in range(shown + 1)]
    return [(index * count // shown, end - start) for index, (start, end) in enumerate(pairwise(ends))]


# Settings inside


def _gif_comment(comment: str) -> bytes:
    """A comment extension in blocks of 255 bytes (GIF89a specification, section 24)."""
    data = comment.encode()
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0" if blocks else b""


def _with_xmp(data: bytes, xmp: bytes, shape: tuple[int, ...]) -> bytes:
    """A WebP with one chunk more (developers.google.com/speed/webp/docs/riff_container): its header says that it is there."""
    chunks = data[12:]
    if not chunks.startswith(b"VP8X"):  # one frame needs no header
        height, width = shape[:2]
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<II", 10, 0) + size + chunks
    chunks = chunks[:8] + bytes([chunks[8] | 4]) + chunks[9:]
    chunks += b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\0" * (len(xmp) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _xmp(comment: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:svd_ui="{XMP_NAMESPACE}" svd_ui:settings={quoteattr(comment)}/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
