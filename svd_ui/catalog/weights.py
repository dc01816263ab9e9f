"""What each file of weights on this machine is, and whether it is whole: by its size and its header, remembered. No torch."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import WeightsDamaged
from ..loras import read_header
from ..notes import Note
from ..weight_files import Kind, checked_header, kind_of

_OF_VIDEO = (b"time_stack", b"temporal_")
"""Parts of names in every file of the family: a header without them need not be parsed, which takes milliseconds."""


@dataclass(frozen=True)
class WeightFile:
    """``kind`` is None where the header cannot be read, or nothing in it is of a video model; ``trouble`` is what is wrong."""

    kind: Kind | None = None
    trouble: Note | None = None


def weight_file(path: Path) -> WeightFile:
    """What ``path`` is, remembered until it changes."""
    return _read(path, *_state(path))


def is_pipeline(path: Path) -> bool:
    """Whether ``path`` is one whole file of everything."""
    file = weight_file(path)
    return file.trouble is None and file.kind is not None and file.kind.what == "pipeline"


def check(path: Path) -> None:
    """Raise WeightsDamaged for a file of any kind that is not whole; remembered too."""
    error = _damage(path, *_state(path))
    if error is not None:
        raise error


def note_of(error: WeightsDamaged) -> Note:
    """The error as a fact to tell."""
    return Note.of("weights_damaged", **error.params)


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=20_000)
def _read(path: Path, _changed: int, size: int) -> WeightFile:
    if _is_of_pictures(path, size):
        return WeightFile()
    try:
        return WeightFile(kind_of(checked_header(path), path.name))
    except WeightsDamaged as error:
        kind = None
        with suppress(OSError, ValueError, struct.error):
            kind = kind_of(read_header(path), path.name)
        return WeightFile(kind, note_of(error))


@lru_cache(maxsize=20_000)
def _damage(path: Path, _changed: int, _size: int) -> WeightsDamaged | None:
    try:
        checked_header(path)
    except WeightsDamaged as error:
        return error.with_traceback(None)
    return None


def _is_of_pictures(path: Path, size: int) -> bool:
    """Whether a header is there in which no name is of a video model's."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        names = file.read(length) if length + 8 <= size else b""
        return names.startswith(b"{") and not any(mark in names for mark in _OF_VIDEO)
    return False
