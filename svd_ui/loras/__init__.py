"""LoRAs on this machine: safetensors files of ``models/loras``, known by their headers. No torch.

A request names a LoRA by its file's stem; no path ever comes from a client.
"""

from __future__ import annotations

import hashlib
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..request import Frozen, LoraRef
from ..settings import REPOSITORY, Settings
from .layouts import Pair, pairs, refused

__all__ = ["LoraFile", "Pair", "digest", "find", "lora_dirs", "loras", "pairs", "refused"]

MAX_HEADER = 16_000_000


class LoraFile(Frozen):
    """One file and what its header tells. ``trouble`` says why it cannot be used; empty where it can.

    ``base`` is the id of the checkpoint it was trained on, ``rank`` the largest inner size of its pairs.
    """

    name: str
    path: Path
    bytes: int
    title: str = ""
    base: str = ""
    rank: int | None = None
    licence: str = ""
    note: str = ""
    trouble: str = ""


def lora_dirs(settings: Settings) -> list[Path]:
    """Where LoRAs are looked for, in order; training writes into the first."""
    return [settings.models_dir / "loras", REPOSITORY / "models" / "loras"]


def loras(settings: Settings) -> dict[str, LoraFile]:
    """All files by name, unusable ones with their trouble. The first of two equal names wins."""
    found: dict[str, LoraFile] = {}
    for folder in lora_dirs(settings):
        for path in _files(folder):
            found.setdefault(path.stem, _described(path))
    return found


def find(settings: Settings, ref: LoraRef) -> LoraFile:
    """The usable file ``ref`` names. Raises BadInput(field="loras") with the known names, or why it cannot be used."""
    known = loras(settings)
    file = known.get(ref.name)
    if file is None:
        names = ", ".join(known) or "none; put .safetensors files into models/loras of the data folder"
        raise BadInput(f"There is no LoRA {ref.name!r}. Known: {names}.", field="loras")
    if file.trouble:
        raise BadInput(file.trouble, field="loras")
    return file


def digest(file: LoraFile, weight: float) -> str:
    """What a cache that depends on the weights in force has in its key."""
    stat = file.path.stat()
    return f"{_sha256(file.path, stat.st_mtime_ns, stat.st_size)[:16]}*{weight:g}"


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    """``changed`` and ``size`` are part of the key: a file written anew is read anew."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    except OSError:  # not ours to read
        return []


def _described(path: Path) -> LoraFile:
    try:
        size = path.stat().st_size
        header = _header(path)
    except (OSError, ValueError, struct.error):
        return LoraFile(name=path.stem, path=path, bytes=0, trouble=refused(path.stem, "it is damaged").message)
    told: dict[str, Any] = header.pop("__metadata__", None) or {}
    about = {name: str(told.get(name, ""))[:300] for name in ("title", "base", "licence", "note")}
    try:
        shapes = {pair.down: header[pair.down]["shape"] for pair in pairs(header, path.stem).values()}
    except BadInput as error:
        return LoraFile(name=path.stem, path=path, bytes=size, trouble=error.message, **about)
    return LoraFile(name=path.stem, path=path, bytes=size, rank=max(s[0] for s in shapes.values()), **about)


def _header(path: Path) -> dict[str, Any]:
    """The JSON before the tensors (huggingface.co/docs/safetensors, "Format"): name => dtype, shape, offsets."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER:
            raise ValueError("not a safetensors header")
        data = json.loads(file.read(length))
    if not isinstance(data, dict):
        raise ValueError("not a safetensors header")
    return data
