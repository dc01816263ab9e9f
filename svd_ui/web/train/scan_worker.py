"""Looking through clips in the background, one collection at a time, for the page to show."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from ...errors import Cancelled, SvdUiError
from ...finetune import TrainRequest

if TYPE_CHECKING:
    from ...clips import Scan, Stretch

log = logging.getLogger(__name__)

MAX_THUMBS = 24
THUMB_SIDE = 176

Contents = tuple[tuple[str, int, int], ...]
"""(path, bytes, time of change) of every file of a folder, in order."""
Key = tuple[str, int | None, int | None, int | None, float, float, Contents]
"""What the outcome depends on: the folder, the shape and rules of a training clip, the files."""


@dataclass(frozen=True)
class Thumb:
    """The first frame of one stretch, as a JPEG in a data URI."""

    source: str
    label: int
    uri: str


@dataclass(frozen=True)
class Looked:
    """Where looking stands. ``number`` counts every change, ``done`` sources of ``total``."""

    number: int = 0
    state: Literal["", "looking", "done", "failed"] = ""
    collection: str = ""
    key: Key | None = None
    done: int = 0
    total: int = 0
    current: str = ""
    message: str = ""
    scan: Scan | None = None
    thumbs: tuple[Thumb, ...] = ()


def key_of(request: TrainRequest) -> Key:
    """``request`` is resolved."""
    size = (request.width, request.height, request.num_frames)
    return (str(request.data), *size, request.fps, request.static_below, contents(request.data))


def contents(folder: Path) -> Contents:
    """Of a folder and those below it; empty where there is none."""
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # taken away while we look
            if path.is_file():
                found.append((str(path), (stat := path.stat()).st_size, stat.st_mtime_ns))
    return tuple(found)


class Looker:
    """``now`` is replaced as a whole: whoever reads it needs no lock. A new start makes an older one moot."""

    def __init__(self) -> None:
        self.now = Looked()
        self._lock = threading.Lock()

    def start(self, request: TrainRequest) -> Looked:
        """Look through ``request.data`` (resolved) in a thread."""
        key = key_of(request)
        with self._lock:
            number, total = self.now.number + 1, max(1, len(key[-1]))
            self.now = Looked(number=number, state="looking", collection=request.data.name, key=key, total=total)
        threading.Thread(target=self._look, args=(request, key), name="look", daemon=True).start()
        return self.now

    def follow(self, request: TrainRequest) -> Key:
        """Look again where files of a collection that was looked through have come, gone or changed; the key by now."""
        before, key = self.now.key, key_of(request)
        if before is not None and before[0] == key[0] and before[-1] != key[-1]:
            self.start(request)
        return key

    def _look(self, request: TrainRequest, key: Key) -> None:
        from ... import clips  # decoders take a moment to load: not before they are needed

        try:
            found = clips.scan(
                request.data,
                width=request.width or 0,
                height=request.height or 0,
                num_frames=request.num_frames or 0,
                fps=request.fps,
                static_below=request.static_below,
                progress=lambda name: self._reach(key, name),
            )
            shown = thumbs(found.stretches, request.width or 1, request.height or 1)
            self._tell(key, state="done", scan=found, thumbs=shown)
        except Cancelled:
            return
        except SvdUiError as error:
            self._tell(key, state="failed", message=error.message)
        except Exception:
            log.exception("looking through clips")
            self._tell(key, state="failed", message="The clips could not be checked. The log says why.")

    def _reach(self, key: Key, name: str) -> None:
        """Raises Cancelled where a newer start has made this one moot."""
        if self.now.key != key:
            raise Cancelled()
        self._tell(key, current=name, done=self.now.done + 1)

    def _tell(self, key: Key, **news: object) -> None:
        with self._lock:
            if self.now.key == key:
                self.now = replace(self.now, number=self.now.number + 1, **news)  # type: ignore[arg-type]


def thumbs(stretches: tuple[Stretch, ...], width: int, height: int) -> tuple[Thumb, ...]:
    """First frames of up to ``MAX_THUMBS`` stretches, spread evenly over all of them, in their order."""
    step = max(1.0, len(stretches) / MAX_THUMBS)
    chosen = [stretches[int(i * step)] for i in range(min(MAX_THUMBS, len(stretches)))]
    scale = min(1.0, THUMB_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    wanted: dict[Path, list[Stretch]] = defaultdict(list)
    for stretch in chosen:
        wanted[stretch.source].append(stretch)
    pictures = {(path, first): uri for path, all_of in wanted.items() for first, uri in _firsts(all_of, size)}
    return tuple(
        Thumb(one.name, one.motion_bucket_id, pictures[one.source, one.first])
        for one in chosen
        if (one.source, one.first) in pictures
    )


def _firsts(stretches: list[Stretch], size: tuple[int, int]) -> list[tuple[int, str]]:
    """(index, picture) of the frames at which ``stretches`` of one source begin."""
    from ...clips.decoding import ClipSource, frames

    begin = {stretch.first for stretch in stretches}
    one, found = stretches[0], []
    for index, frame in enumerate(frames(ClipSource(one.source, one.kind, one.fps), *size)):
        if index in begin:
            data = io.BytesIO()
            Image.fromarray(frame).save(data, "JPEG", quality=80)
            found.append((index, f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"))
        if index >= max(begin):
            break
    return found
