"""The other forms of a clip: all frames as a zip, and animated pictures."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .atomic import atomic

Frames = Iterable[NDArray[np.uint8]]
XMP_NAMESPACE = "https://svd-ui.local/ns/1.0/"
SHORTEST = 20  # ms; browsers slow animations with shorter frames down to 100 ms


def write_frames_zip(path: Path, frames: Frames, comment: str = "") -> None:
    """Every frame ``[H W 3]`` as ``frame_0000.png`` ...; a ``comment`` goes beside them as settings.json."""
    # PNG is compressed already: the zip only bundles. Level 1 costs a few percent of size and saves most of the time.
    with atomic(Path(path)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for index, frame in enumerate(frames):
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
            archive.writestr(f"frame_{index:04d}.png", buffer.getvalue())
        if comment:
            archive.writestr("settings.json", comment)


def write_gif(path: Path, frames: Frames, fps: float, comment: str = "") -> None:
    """An endless GIF; ``comment`` is its comment block. Colours are reduced to 256 per frame."""
    images = [Image.fromarray(frame).quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    _save_animation(path, images, "GIF", _durations(len(images), fps, unit=10), comment=comment.encode(), disposal=1)


def write_webp(path: Path, frames: Frames, fps: float, comment: str = "") -> None:
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
