"""Clips as people have them, read a frame at a time at the size they are wanted. No torch.

A source is a video (mp4, mov, mkv, webm), an animation (gif, webp, apng) or a folder of numbered pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from ..errors import BadClip, BadInput
from ..media.image import fit

VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi"}
ANIMATIONS = {".gif", ".webp", ".apng", ".png"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MAX_SIDE = 8192

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
    readers = {"video": _video, "animation": _animation, "pictures": _folder}
    try:
        for picture in readers[source.kind](source.path):
            yield np.asarray(fit(picture, width, height))
    except (av.error.FFmpegError, OSError, ValueError, SyntaxError) as error:
        raise BadClip("is damaged or incomplete: save it again, or leave it out.", name=source.name) from error


def _opened(path: Path) -> ClipSource | BadClip:
    try:
        if path.suffix.lower() in VIDEOS:
            return ClipSource(path, "video", _video_fps(path))
        return ClipSource(path, "animation", _animation_fps(path))
    except BadClip as error:
        return error
    except (av.error.FFmpegError, OSError, ValueError, SyntaxError):
        return BadClip("cannot be read as a clip: save it as mp4 or gif, or leave it out.", name=path.name)


def _video_fps(path: Path) -> float:
    with av.open(str(path.absolute()), "r") as container:
        if not container.streams.video:
            raise BadClip("holds no pictures.", name=path.name)
        stream = container.streams.video[0]
        if max(stream.width, stream.height) > MAX_SIDE:
            raise BadClip(f"is larger than {MAX_SIDE} pixels along a side.", name=path.name)
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise BadClip("does not say how many frames a second it has.", name=path.name)
        return float(rate)


def _animation_fps(path: Path) -> float:
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) < 2:
            raise BadClip("is a still, not a clip.", name=path.name)
        if max(image.size) > MAX_SIDE:
            raise BadClip(f"is larger than {MAX_SIDE} pixels along a side.", name=path.name)
        image.seek(1)
        image.load()  # WebP tells a duration only once its frame is decoded
        return 1000.0 / max(float(image.info.get("duration") or 100), 10.0)


def _video(path: Path) -> Iterator[Image.Image]:
    with av.open(str(path.absolute()), "r") as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            yield frame.to_image()  # type: ignore[no-untyped-call]


def _animation(path: Path) -> Iterator[Image.Image]:
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield frame.convert("RGB")


def _folder(path: Path) -> Iterator[Image.Image]:
    for picture in _pictures(path):
        with Image.open(picture) as image:
            yield image.convert("RGB")


def _pictures(folder: Path) -> list[Path]:
    """The numbered pictures of ``folder`` in the order of their numbers, where they look like frames of one clip."""
    numbered = [
        (int(match[1]), path)
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and (match := re.search(r"(\d+)$", path.stem))
    ]
    return [path for _, path in sorted(numbered)] if len(numbered) >= 2 else []
