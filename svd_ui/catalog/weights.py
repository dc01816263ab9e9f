"""What each file of weights on this machine is, and whether it is whole: by its size and its header, remembered. No torch."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import GET_AGAIN, WeightsDamaged
from ..notes import WORDS, Note, sentence
from ..weight_files import checked_header, damaged, read_header
from ..weight_kinds import Kind, What, kind_of

_OF_VIDEO = (b"time_stack", b"temporal_")
"""Parts of names in every file of the family: a header without them need not be parsed, which takes milliseconds."""
_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, struct.error)
"""What reading JSON raises that is not what a header should be: anybody's file may lie in a place for models."""


@dataclass(frozen=True)
class WeightFile:
    """``kind`` is None where the header cannot be read, or nothing in it is of a video model; ``trouble`` is what is wrong."""

    kind: Kind | None = None
    trouble: Note | None = None


def weight_file(path: Path) -> WeightFile:
    """What ``path`` is, remembered until it changes."""
    return _read(path, *_state(path))


def foreign(path: Path) -> Note:
    """What a file is that is no video model's."""
    return _foreign(path, *_state(path))


def holds(path: Path, what: What) -> bool:
    """Whether ``path`` is a whole file of that kind."""
    file = weight_file(path)
    return file.trouble is None and file.kind is not None and file.kind.what == what


def check(path: Path) -> None:
    """Raise WeightsDamaged for a file of any kind that is not whole; remembered too."""
    params = _damage(path, *_state(path))
    if params is not None:
        raise WeightsDamaged(**params)


def check_length(path: Path) -> None:
    """As ``check``, of a download, whose contents were compared with their hash: it may have been cut short since."""
    params = _damage(path, *_state(path))
    if params is not None and params["detail"] != WORDS["damaged files"]["no_header"]:
        raise WeightsDamaged(**params)


def note_of(error: WeightsDamaged, *remedies: Note) -> Note:
    """The error as a fact to tell, and what to do beside what it says itself."""
    own = [error.params["remedy"]] if error.params["remedy"] != GET_AGAIN or not remedies else []
    return Note.of("weights_damaged", **error.params | {"remedy": " ".join([*own, *map(sentence, remedies)])})


def with_link(note: Note, link: str) -> Note:
    """``note``, and of a damaged file where to get it."""
    if note.code != "weights_damaged" or not link:
        return note
    return note_of(WeightsDamaged(**note.params), Note.of("get_file_from", link=link))


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=20_000)
def _read(path: Path, _changed: int, size: int) -> WeightFile:
    return WeightFile() if _is_of_pictures(path, size) else _examined(path)


def _examined(path: Path) -> WeightFile:
    try:
        return WeightFile(kind_of(checked_header(path), path.name))
    except WeightsDamaged as error:
        kind = None
        with suppress(OSError, *_MALFORMED):
            kind = kind_of(read_header(path), path.name)
        return WeightFile(kind, note_of(error))
    except _MALFORMED:
        return WeightFile(trouble=note_of(damaged(path, "no_header")))


@lru_cache(maxsize=20_000)
def _damage(path: Path, _changed: int, _size: int) -> dict[str, Any] | None:
    try:
        checked_header(path)
    except WeightsDamaged as error:
        return error.params
    return None


@lru_cache(maxsize=1000)
def _foreign(path: Path, _changed: int, _size: int) -> Note:
    file = _examined(path)
    return file.trouble or (file.kind and file.kind.trouble) or Note.of("file_unknown", file=path.name)


def _is_of_pictures(path: Path, size: int) -> bool:
    """Whether a header is there in which no name is of a video model's."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        names = file.read(length) if length + 8 <= size else b""
        return names.startswith(b"{") and not any(mark in names for mark in _OF_VIDEO)
    return False
