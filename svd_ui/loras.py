"""LoRAs on this machine: safetensors files of ``models/loras``, known by their headers. No torch.

A request names a LoRA by its file's stem; no path ever comes from a client. Files of different programs name their
tensors in different ways; ``pairs`` brings them to one form.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import BadInput
from .notes import WORDS
from .request import Frozen, LoraRef
from .settings import REPOSITORY, Settings

__all__ = ["LoraFile", "Pair", "digest", "find", "lora_dirs", "loras", "pairs", "read_header", "refused"]

MAX_HEADER = 16_000_000
_PATTERNS = (
    # peft and today's diffusers, with or without the adapter's name
    (re.compile(r"(?P<target>.+)\.lora_(?P<part>A|B)(\.[\w-]+)?\.weight"), "{target}"),
    # kohya-ss
    (re.compile(r"(?P<target>.+)\.lora_(?P<part>down|up)\.weight"), "{target}"),
    # older diffusers: inside the layer, or inside its attention processor
    (re.compile(r"(?P<target>.+)\.lora\.(?P<part>down|up)\.weight"), "{target}"),
    (re.compile(r"(?P<target>.+)\.processor\.(?P<layer>to_\w+?)_lora\.(?P<part>down|up)\.weight"), "{target}.{layer}"),
)
_ALPHA = re.compile(r"(?P<target>.+)\.alpha")
_PREFIXES = ("base_model.model.", "unet.", "lora_unet_", "diffusion_model.", "model.")
_REFUSED: dict[str, str] = WORDS["refused LoRAs"]
"""A part of a tensor's name that no plain LoRA has => what such a file is; the first that is found counts."""


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
        header = read_header(path)
    except (OSError, ValueError, struct.error):
        return LoraFile(name=path.stem, path=path, bytes=0, trouble=refused(path.stem, "it is damaged").message)
    told: dict[str, Any] = header.pop("__metadata__", None) or {}
    about = {name: str(told.get(name, ""))[:300] for name in ("title", "base", "licence", "note")}
    try:
        shapes = {pair.down: header[pair.down]["shape"] for pair in pairs(header, path.stem).values()}
    except BadInput as error:
        return LoraFile(name=path.stem, path=path, bytes=size, trouble=error.message, **about)
    return LoraFile(name=path.stem, path=path, bytes=size, rank=max(s[0] for s in shapes.values()), **about)


def read_header(path: Path) -> dict[str, Any]:
    """The JSON before the tensors (huggingface.co/docs/safetensors, "Format"): name => dtype, shape, offsets.

    Raises OSError, ValueError or struct.error for a file that cannot be read or is none.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER:
            raise ValueError("not a safetensors header")
        data = json.loads(file.read(length))
    if not isinstance(data, dict):
        raise ValueError("not a safetensors header")
    return data


@dataclass(frozen=True)
class Pair:
    """Names of one layer's tensors in the file: ``down [r in ...]``, ``up [out r ...]`` and, perhaps, ``alpha []``."""

    down: str
    up: str
    alpha: str | None = None


def pairs(names: Iterable[str], title: str) -> dict[str, Pair]:
    """Layer => its tensors, layers without their program's prefix. Raises BadInput that says why a file is refused.

    A layer of kohya's keeps its underscores (``down_blocks_0_attentions_0``): only the model knows where dots belong.
    """
    names = list(names)
    for mark, reason in _REFUSED.items():
        if any(mark in name for name in names):
            raise refused(title, reason)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        target, part = _read(name, title)
        found.setdefault(target, {})[part] = name
    if not found:
        raise refused(title, "it holds no LoRA tensors")
    lonely = [target for target, parts in found.items() if not {"down", "up"} <= parts.keys()]
    if lonely:
        raise refused(title, f"half of its pair for {lonely[0]!r} is missing")
    return {target: Pair(parts["down"], parts["up"], parts.get("alpha")) for target, parts in found.items()}


def refused(title: str, reason: str) -> BadInput:
    return BadInput(f"The LoRA {title} cannot be used: {reason}.", field="loras")


def _read(name: str, title: str) -> tuple[str, str]:
    """Name in the file => (layer, ``down`` | ``up`` | ``alpha``)."""
    for pattern, form in _PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            part = {"A": "down", "B": "up"}.get(match["part"], match["part"])
            return _bare(form.format_map(match.groupdict())), part
    match = _ALPHA.fullmatch(name)
    if match is None:
        raise refused(title, f"it holds a tensor of another kind, {name[:60]!r}")
    return _bare(match["target"]), "alpha"


def _bare(target: str) -> str:
    for prefix in _PREFIXES:
        target = target.removeprefix(prefix)
    return target
