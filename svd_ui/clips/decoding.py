"""Clips as people have them, read a frame at a time at the size they are wanted. No torch.

A source is a video (mp4, mov, mkv, webm), an animation (gif, webp, apng, avif) or a folder of numbered pictures. Both come in
through the doors of ``media`` that the page's stills take, so that what is trained is what is seen there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadClip, BadInput, BadPicture
from ..media.footage import footage
from ..media.image import fit, load
from ..media.reading import Reader

VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi"}
ANIMATIONS = {".gif", ".webp", ".apng", ".png", ".avif"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic"}
MAX_SIDE = 8192
MAX_BYTES = 500_000_000
"""Of one picture of a folder."""

Frame = NDArray[np.uint8]
"""``[H W 3]`` RGB."""


@dataclass(frozen=True)
class ClipSource:
    """One clip on disk. ``fps`` None where the source does not tell (a folder of pictures)."""

    path: Path
    kind: str
    fps: float | None

    @property
    def name(self) -> str:
        return self.path.name


def find_sources(folder: Path) -> Iterator[ClipSource | BadClip]:
    """Every clip in ``folder`` and below, in order of their names; an unreadable one as the error that says why."""
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder.name!r} with clips.", field="data")
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        pictures = _pictures(place)
        if pictures:
            yield ClipSource(place, "pictures", None)
        stills = set(pictures)
        for path in sorted(path for path in place.iterdir() if path.is_file() and path not in stills):
            if path.suffix.lower() in VIDEOS | ANIMATIONS:
                yield _opened(path)


def frames(source: ClipSource, width: int, height: int) -> Iterator[Frame]:
    """The frames of ``source``, cropped about the middle and resized to exactly ``width`` x ``height``.

    Raises BadClip where the file breaks off or is not what it claims.
    """
    pictures = _folder(source.path) if source.kind == "pictures" else _clip(source.path)
    try:
        for picture in pictures:
            yield np.asarray(fit(picture, width, height))
    except BadPicture as error:
        raise BadClip("is damaged or incomplete: save it again, or leave it out.", name=source.name) from error


def _opened(path: Path) -> ClipSource | BadClip:
    try:
        with footage(path, Reader(MAX_SIDE**2)) as clip:
            if clip is None:
                return BadClip("is a still, not a clip.", name=path.name)
            if max(clip.facts.width, clip.facts.height) > MAX_SIDE:
                return BadClip(f"is larger than {MAX_SIDE} pixels along a side.", name=path.name)
            return ClipSource(path, "video" if path.suffix.lower() in VIDEOS else "animation", clip.facts.fps)
    except BadPicture:
        return BadClip("cannot be read as a clip: save it as mp4 or gif, or leave it out.", name=path.name)


def _clip(path: Path) -> Iterator[Image.Image]:
    with footage(path, Reader(MAX_SIDE**2)) as clip:
        if clip is None:
            raise BadPicture("It is no clip.")
        yield from clip.frames()


def _folder(path: Path) -> Iterator[Image.Image]:
    for picture in _pictures(path):
        yield load(picture, max_bytes=MAX_BYTES, max_pixels=MAX_SIDE**2).image


def _pictures(folder: Path) -> list[Path]:
    """The numbered pictures of ``folder`` in the order of their numbers, where they look like frames of one clip."""
    numbered = [
        (int(match[1]), path)
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and (match := re.search(r"(\d+)$", path.stem))
    ]
    return [path for _, path in sorted(numbered)] if len(numbered) >= 2 else []
