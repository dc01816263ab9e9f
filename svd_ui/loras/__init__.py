"""LoRAs on this machine: safetensors files in folders for them, known by their headers. No torch.

A request names a LoRA as it is listed here, by its place in its folder without the ending; no path ever comes from a
client. An adapter folder of peft's or diffusers' is one LoRA, under the folder's name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import BadInput, WeightsDamaged
from ..model_dirs import places, walk
from ..notes import Note
from ..request import Frozen, LoraRef
from ..settings import Settings
from ..weight_files import ENDINGS, PICKLES, checked_header
from ..weight_kinds import kind_of
from .layout import LoraLayer, layers, metadata_of, ranks, refused
from .naming import clean, listed, named, names_of, written
from .strength import CONFIG, strengths

__all__ = [
    "Contents",
    "LoraFile",
    "LoraLayer",
    "clean",
    "contents",
    "digest",
    "find",
    "layers",
    "listed",
    "loras",
    "named",
    "names",
    "refused",
    "remarks",
    "written",
]

_ARCHITECTURES = ("modelspec.architecture", "ss_base_model_version")
"""Metadata in which kohya-ss and others name the model that a LoRA was made for."""
SHOWN = 12
"""Names that an error lists."""


class LoraFile(Frozen):
    """One file and what its header tells. ``trouble`` says why it cannot be used; empty where it can.

    ``base`` is the id of the checkpoint it was trained on, ``rank`` the largest inner size of its pairs, ``alpha`` what all
    layers share. ``notes`` are on what had to be assumed.
    """

    name: str
    path: Path
    bytes: int
    title: str = ""
    base: str = ""
    rank: int | None = None
    alpha: float | None = None
    licence: str = ""
    note: str = ""
    trouble: str = ""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a file does: its layers' tensors, and the factor before each pair."""

    layers: dict[str, LoraLayer]
    factors: dict[str, float]
    ranks: dict[str, int]
    alpha: float | None = None
    notes: tuple[Note, ...] = ()


def loras(settings: Settings) -> dict[str, LoraFile]:
    """All files by name, unusable ones with their trouble."""
    return {name: _described(name, path) for name, path in names(settings).items()}


def names(settings: Settings) -> dict[str, Path]:
    """What each file is called. A name that is taken is told apart by the folders above."""
    found: dict[str, Path] = {}
    seen: set[Path] = set()
    for root in places(settings).loras:
        for path in _files(root):
            try:
                real = path.resolve()
            except OSError:
                continue
            if real not in seen:
                seen.add(real)
                found[next(name for name in names_of(root, path) if name not in found)] = path
    return found


def find(settings: Settings, ref: LoraRef) -> LoraFile:
    """The usable file ``ref`` names. Raises BadInput(field="loras") with the known names, or why it cannot be used."""
    known, name = names(settings), clean(ref.name)
    if name not in known and os.path.splitext(name)[1].lower() in ENDINGS:  # as its file is called
        name = os.path.splitext(name)[0]
    if name not in known:
        end = name.rpartition("/")[2].casefold()
        near = [other for other in known if end in other.casefold()] or list(known)
        more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
        shown = ", ".join(near[:SHOWN]) or "none; put .safetensors files into models/loras of the data folder"
        raise BadInput(f"There is no LoRA {ref.name!r}. Known: {shown}{more}.", field="loras")
    file = _described(name, known[name])
    if file.trouble:
        raise BadInput(file.trouble, field="loras")
    return file


def remarks(settings: Settings, refs: Iterable[LoraRef], checkpoint: str) -> list[Note]:
    """What a clip says about its LoRAs. Raises BadInput as ``find`` does."""
    found: list[Note] = []
    for file in (find(settings, ref) for ref in refs):
        found += file.notes
        if file.base and file.base != checkpoint:
            about = {"title": file.title or file.name, "base": file.base, "checkpoint": checkpoint}
            found.append(Note.of("lora_of_another_checkpoint", **about))
    return found


def contents(path: Path, title: str) -> Contents:
    """What the file at ``path`` does. Raises BadInput that says why it cannot be used."""
    try:
        return _contents(path, checked_header(path), title)
    except WeightsDamaged as error:
        raise refused(title, error.message.rstrip(".")) from error


def _contents(path: Path, header: dict[str, Any], title: str) -> Contents:
    tensors = {name: about for name, about in header.items() if name != "__metadata__"}
    if kind_of(tensors).what in ("pipeline", "unet"):
        raise refused(title, "it is a checkpoint: put it into models, not into models/loras")
    table = layers(tensors, title)
    sizes = ranks(tensors, table, title)
    found = strengths(path, header, table, sizes, title)
    return Contents(table, found.factors, sizes, found.alpha, found.notes)


def digest(file: LoraFile, weight: float) -> str:
    """What a cache that depends on the weights in force has in its key."""
    stat = file.path.stat()
    config = _changed(file.path.with_name(CONFIG))
    return f"{_sha256(file.path, stat.st_mtime_ns, stat.st_size)[:16]}{config or ''}*{weight:g}"


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    """``changed`` and ``size`` are part of the key: a file written anew is read anew."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(root: Path) -> Iterator[Path]:
    """The LoRAs below ``root``, nearest first; pickles too, so that it can be said why they are not used."""
    try:
        for listing in walk(root, lambda listing: True):
            for name in listing.files:
                ending = os.path.splitext(name)[1].lower()
                if ending in ENDINGS or ending in PICKLES:
                    yield listing.path / name
    except ValueError:
        return  # more than any collection has


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _described(name: str, path: Path) -> LoraFile:
    try:
        stat = path.stat()
    except OSError:
        return LoraFile(name=name, path=path, bytes=0, trouble=refused(name, "it cannot be opened").message)
    about = _facts(name, path, stat.st_mtime_ns, stat.st_size, _changed(path.with_name(CONFIG)))
    return LoraFile(name=name, path=path, bytes=stat.st_size, **about)


@lru_cache(maxsize=2048)
def _facts(name: str, path: Path, changed: int, size: int, config_changed: int) -> dict[str, Any]:
    """Fields of ``LoraFile``; the numbers are part of the key, so that a file written anew is read anew."""
    if path.suffix.lower() not in ENDINGS:
        return {"trouble": refused(name, "it is a pickle, which may run code: save it as .safetensors").message}
    about: dict[str, Any] = {}
    try:
        header = checked_header(path)
        told = metadata_of(header)
        about = {key: str(told.get(key, ""))[:300] for key in ("title", "base", "licence", "note")}
        made_for = next((str(told[key])[:100] for key in _ARCHITECTURES if told.get(key)), "")
        about["note"] = about["note"] or (f"for {made_for}" if made_for and not about["base"] else "")
        found = _contents(path, header, about["title"] or name)
    except BadInput as error:
        return {**about, "trouble": error.message}
    except WeightsDamaged as error:
        return {"trouble": refused(name, error.message.rstrip(".")).message}
    return {**about, "rank": max(found.ranks.values(), default=None), "alpha": found.alpha, "notes": found.notes}
