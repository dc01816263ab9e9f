"""Whether a file of weights is whole, and what it is: by its size and its header, never by reading the weights. No torch."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..loras import read_header
from ..notes import Note
from ..weight_files import Kind, kind_of

OF_VIDEO = (b"time_stack", b"temporal_")
"""Parts of the names in every file of the family: without them a header need not be parsed, which takes milliseconds."""
_HEAD = 4096
_OTHER_FORMATS = {b"PK": "a pickle", b"\x80": "a pickle", b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file"}


@dataclass(frozen=True)
class WeightFile:
    """``kind`` is None where the header cannot be read, or is of nothing of ours; ``trouble`` says what is wrong with it."""

    kind: Kind | None = None
    trouble: Note | None = None


def weight_file(path: Path) -> WeightFile:
    """What ``path`` is, kept until it changes. Raises OSError where it cannot be read."""
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


def is_pipeline(path: Path) -> bool:
    """Whether ``path`` is one whole file of everything."""
    try:
        file = weight_file(path)
    except OSError:
        return False
    return file.trouble is None and file.kind is not None and file.kind.what == "pipeline"


@lru_cache(maxsize=20_000)
def _read(path: Path, _changed: int, size: int) -> WeightFile:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        (length,) = struct.unpack("<Q", head[:8].ljust(8, b"\0"))
        if head[8:9] == b"{" and length + 8 <= size:
            file.seek(8)
            names = file.read(length)
            if not any(mark in names for mark in OF_VIDEO):
                return WeightFile()
    try:
        header = read_header(path)
        needed = 8 + length + max((entry["data_offsets"][1] for entry in _tensors(header)), default=0)
    except (ValueError, TypeError, KeyError, struct.error):
        return WeightFile(trouble=_no_header(path.name, head, size))
    trouble = Note.of("weights_cut", file=path.name, have=_gb(size), need=_gb(needed)) if size != needed else None
    return WeightFile(kind_of(header, path.name), trouble)


def _tensors(header: dict[str, Any]) -> list[Any]:
    return [entry for name, entry in header.items() if name != "__metadata__"]


def _no_header(name: str, head: bytes, size: int) -> Note:
    """What lies there in the place of weights."""
    text = head.lstrip()[:400].decode("utf-8", "replace")
    if text.startswith("version https://git-lfs"):
        return Note.of("weights_pointer", file=name)
    if text.startswith("<"):
        return Note.of("weights_page", file=name)
    if not head.strip(b"\0"):
        return Note.of("weights_blank", file=name)
    for mark, what in _OTHER_FORMATS.items():
        if head.startswith(mark):
            return Note.of("weights_other_format", file=name, what=what)
    if "�" not in text and text.isprintable():
        return Note.of("weights_text", file=name, text=text[:80])
    (length,) = struct.unpack("<Q", head[:8].ljust(8, b"\0"))
    if head[8:9] == b"{" and length > size:
        return Note.of("weights_cut", file=name, have=_gb(size), need="more")
    return Note.of("weights_unreadable", file=name)


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size:,} bytes"
