"""The other forms of a clip: a GIF or WebP that plays for ever, a zip of its frames. Frames are read one at a time.

A GIF has 255 colours, chosen once for the whole clip. Each pixel is dithered by a fixed pattern (Knoll's, described in
"Arbitrary-palette positional dithering", Joel Yliluoma, 2011) that depends on its place alone, and is drawn again only
where the picture changed: what stands still stands still.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import atomic, disk_full
from .video import Frames, local

__all__ = ["FrameSequence", "FrameSpool", "write_frames_zip", "write_gif", "write_webp"]

XMP_NAMESPACE = "https://svd-ui.local/ns/1.0/"
GIF_COLOURS = 255  # and one that is transparent, for what stays as it was
STILL, STILL_AROUND = 24, 5
"""Differences, summed over red, green and blue, up to which a pixel of a GIF stays as it was drawn: its own, which noise
makes, and the mean of it and its neighbours, in which noise goes and a slow change stays."""
_SAMPLE = 150_000
"""Pixels from which the colours are chosen."""
_PATTERN = np.array([[0, 2], [3, 1]])
_SPREAD = 0.8
"""How much of the error is passed on: with all of it lone pixels stray far from the picture."""
_BITS = 6
"""Of each channel, with which the nearest colour is looked up."""


class FrameSequence(Protocol):
    """Frames ``[H W 3]`` by number: an array ``[F H W 3]`` is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


class FrameSpool:
    """Frames in a file without a name, so that a clip of any length takes no memory. Raises DiskFull."""

    def __init__(self, folder: Path) -> None:
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
    palette = _palette(frames)
    pixels = np.zeros((256, 4), np.uint8)  # alpha first
    pixels[:GIF_COLOURS, 0], pixels[: len(palette), 1:] = 255, palette
    with atomic(Path(path)) as temporary:
        drawn = ((indices, pixels) for indices in _drawn((frames[index] for index, _ in timing), palette))
        _encode(temporary, "gif", "gif", "pal8", drawn, timing, 100, options)
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


# Colours of a GIF


def _palette(frames: FrameSequence) -> NDArray[np.uint8]:
    """Up to GIF_COLOURS colours ``[n 3]`` of the whole clip, dark ones first."""
    count = len(frames)
    chosen = [frames[index] for index in range(0, count, max(1, count // 64))]
    step = max(1, round((len(chosen) * chosen[0].shape[0] * chosen[0].shape[1] / _SAMPLE) ** 0.5))
    pixels = np.concatenate(
        [frame[at % step :: step, 3 * at % step :: step].reshape(-1, 3) for at, frame in enumerate(chosen)]
    )
    picture = Image.fromarray(pixels[None])
    # k-means goes on while more than so many pixels change their colour: a hundredth is not seen, and ends it in time.
    reduced = picture.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT, kmeans=1500, dither=Image.Dither.NONE)
    palette = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)[:GIF_COLOURS]
    return palette[np.argsort(palette @ [0.299, 0.587, 0.114], kind="stable")]


def _drawn(frames: Iterable[Frames], palette: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Each frame as numbers of colours ``[H W]``."""
    nearest = _nearest(palette)
    before: NDArray[np.uint8] | None = None
    shown: NDArray[np.int16] = np.empty(0, np.int16)
    for frame in frames:
        if before is None:
            shown = frame.astype(np.int16)
            changed = np.ones(frame.shape[:2], bool)
            before = np.zeros(frame.shape[:2], np.uint8)
        else:
            changed = _changed(frame - shown)
            shown[changed] = frame[changed]
        rows, columns = np.nonzero(changed)
        drawn = before.copy()
        drawn[changed] = _dithered(frame[changed], _PATTERN[rows % 2, columns % 2], palette, nearest)
        before = drawn
        yield drawn


def _changed(difference: NDArray[np.int16]) -> NDArray[np.bool_]:
    padded = np.pad(difference, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    changed: NDArray[np.bool_] = (np.abs(around).sum(-1) > 9 * STILL_AROUND) | (np.abs(difference).sum(-1) > STILL)
    return changed


def _dithered(
    pixels: Frames, places: NDArray[np.intp], palette: NDArray[np.uint8], nearest: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The colours whose mean is the pixel's own, as many as the pattern has places: each pixel shows that of its place."""
    goal, wide = pixels.astype(np.float32), palette.astype(np.float32)
    error = np.zeros_like(goal)
    mixed = np.empty((_PATTERN.size, len(goal)), np.uint8)
    for one in mixed:
        cells = np.clip(goal + _SPREAD * error, 0, 255).astype(np.uint32) >> (8 - _BITS)
        one[:] = nearest[cells @ np.array([1 << 2 * _BITS, 1 << _BITS, 1], np.uint32)]
        error += goal - wide[one]
    mixed.sort(axis=0)  # by lightness
    chosen: NDArray[np.uint8] = np.take_along_axis(mixed, places[None], axis=0)[0]
    return chosen


def _nearest(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The nearest colour of every cell of the colour cube, in one row."""
    middles = (np.arange(1 << _BITS, dtype=np.float32) + 0.5) * (1 << 8 - _BITS)
    cells = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), -1).reshape(-1, 3)
    wide = palette.astype(np.float32)
    lengths = (wide**2).sum(1)
    parts = [(lengths - 2 * part @ wide.T).argmin(1).astype(np.uint8) for part in np.array_split(cells, 64)]
    return np.concatenate(parts)


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
