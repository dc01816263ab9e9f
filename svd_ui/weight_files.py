"""Weight files as they lie on disks: which hold a component, and what is wrong with one. No torch.

A checkpoint's source is a diffusers folder or one safetensors file of everything; ``weights_of`` opens either.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import WeightsDamaged
from .notes import WORDS
from .stability_keys import COMPONENTS, Header, Tensors

__all__ = [
    "ENDINGS",
    "FORMATS",
    "PICKLES",
    "Weights",
    "checked_header",
    "component_files",
    "damaged",
    "read_config",
    "read_header",
    "weights_of",
]

FORMATS = {"F16", "BF16", "F32", "F64"}
"""Safetensors' names of the number formats that can be read."""
MAX_HEADER = 16_000_000
Check = Callable[[Path], object]
_FOLDERS = (*COMPONENTS, "scheduler", "feature_extractor")
ENDINGS = (".safetensors", ".sft")
"""In small letters; ComfyUI reads the second as well."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")
_BEGINNINGS = (
    (b"version https://git-lfs", "pointer"),
    (b"PK\x03\x04", "pickle"),  # torch.save's zip
    (b"\x80", "pickle"),
    (b"GGUF", "gguf"),
)


def damaged(path: Path, what: str, **params: Any) -> WeightsDamaged:
    """The error that says ``what`` (a word of the locale) is wrong with ``path``, never more of it than its folder."""
    remedy = {"remedy": text} if (text := WORDS["remedies of damaged files"].get(what)) else {}
    return WeightsDamaged(file=_short(path), detail=WORDS["damaged files"][what].format(**params), **remedy)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.parent.name in _FOLDERS else path.name


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


def checked_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file that is whole. Raises WeightsDamaged with what it is instead."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(512)
    except OSError as error:
        raise damaged(path, "unreadable", why=error.strerror or type(error).__name__) from error
    _check_beginning(path, beginning)
    try:
        header = read_header(path)
        (length,) = struct.unpack("<Q", beginning[:8])
        end = _end_of_tensors(header)
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError, struct.error) as error:
        whole = struct.unpack("<Q", beginning[:8])[0] if len(beginning) >= 8 else 0
        if beginning[8:9] == b"{" and size < 8 + whole:
            raise damaged(path, "cut_in_header") from error
        raise damaged(path, "no_header") from error
    whole = 8 + length + end
    if size != whole:
        raise damaged(path, "cut_short" if size < whole else "too_long", there=size, whole=whole)
    return header


def _end_of_tensors(header: Header) -> int:
    """Where the last one ends: each follows the one before, and is as long as its shape says. Raises ValueError."""
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    end = 0
    for entry in sorted(tensors, key=lambda one: tuple(one["data_offsets"])):
        begin, after = entry["data_offsets"]
        bits = re.search(r"\d+", entry["dtype"])
        if begin != end or (bits and 8 * (after - begin) != math.prod(entry["shape"]) * int(bits[0])):
            raise ValueError("tensors overlap, or leave holes")
        end = after
    return end


def _check_beginning(path: Path, beginning: bytes) -> None:
    if not beginning:
        raise damaged(path, "empty")
    if beginning.lstrip()[:1] == b"<":
        raise damaged(path, "page")
    for mark, what in _BEGINNINGS:
        # A safetensors file of a header of 128 bytes begins with the byte of a pickle too, and goes on with zeros.
        if beginning.startswith(mark) and beginning[8:9] != b"{":
            raise damaged(path, what)


def read_config(path: Path) -> dict[str, Any] | None:
    """A small JSON file; None where it is not there. Raises WeightsDamaged where it is no object of proper numbers."""
    try:
        text = path.read_text("utf-8-sig")  # Windows' editor begins with a mark
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(path, "unreadable", why=error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise damaged(path, "no_config") from error
    if text.startswith("version https://git-lfs"):
        raise damaged(path, "pointer")
    try:
        data = json.loads(text, parse_constant=_no_number)
    except _NoNumber as error:
        raise damaged(path, "no_number", number=error) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "no_config") from error
    if not isinstance(data, dict):
        raise damaged(path, "no_config")
    return data


class _NoNumber(Exception):
    """NaN or Infinity, which Python's JSON reads and no model can use."""


def _no_number(text: str) -> float:
    raise _NoNumber(text)


# The files of a component


@dataclass(frozen=True)
class Weights:
    """One component's tensors, and which file each of them lies in."""

    tensors: Tensors
    places: dict[str, Path]

    @property
    def files(self) -> list[Path]:
        return list(dict.fromkeys(self.places.values()))

    def names(self) -> dict[str, str]:
        """What diffusers calls its tensors => what the file does; of Stability's, the U-Net's only."""
        return {name: own for own in self.places if (name := self.tensors.name(own)) is not None}


def weights_of(source: Path, component: str, variants: Sequence[str | None] = (None,)) -> Weights:
    """The weights of ``component`` in a folder or a single file. Raises WeightsDamaged.

    ``variants`` are the precisions to read in order of preference (``fp16``, or None for the full one); where a folder
    has none of these whole, any other that it has.
    """
    files = [source] if source.is_file() else component_files(source / component, variants, checked_header)
    header: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for file in files:
        own = checked_header(file)
        own.pop("__metadata__", None)
        header |= own
        places |= dict.fromkeys(own, file)
    tensors = Tensors.find(header, component)
    if tensors is None and source.is_file():
        raise damaged(source, "lacks", part=WORDS["components"][component])
    return Weights(tensors or Tensors(header, component), places)  # or a class of its own


def component_files(folder: Path, variants: Sequence[str | None] = (None,), check: Check | None = None) -> list[Path]:
    """The safetensors of a component's folder in one precision: one file, or all its shards. Raises WeightsDamaged.

    Of a clone with 'git lfs pull' for half precision alone the full one are pointers: what is damaged is passed over,
    where something else is whole. ``check`` raises WeightsDamaged for a file that is.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())  # a link may lead nowhere
    except OSError as error:
        raise damaged(folder / "", "no_folder") from error
    found: dict[str | None, list[str]] = {}
    for name in names:
        if name.endswith(".safetensors") and not name.startswith("."):  # macOS leaves ._names on other disks
            found.setdefault(_variant(name), []).append(name)
    order = [one for one in dict.fromkeys((*variants, None, *found)) if one in found]
    if not order:
        pickles = [name for name in names if name.endswith(PICKLES)]
        raise damaged(folder / "", "only_pickle" if pickles else "no_weights", name=(pickles or [""])[0])
    troubles = []
    for variant in order:
        try:
            return _whole(folder, found[variant], check)
        except WeightsDamaged as error:
            troubles.append(error)
    raise troubles[0]


def _whole(folder: Path, names: list[str], check: Check | None) -> list[Path]:
    """The files of one precision. Raises WeightsDamaged."""
    if missing := _missing_shards(names):
        raise damaged(folder / missing[0], "missing_shard")
    files = [folder / name for name in _chosen(names)]
    if check:
        for file in files:
            check(file)
    return files


def _variant(name: str) -> str | None:
    """``fp16`` of ``model.fp16.safetensors``, ``model.fp16-00001-of-00002`` and ``model-00001-of-00002.fp16``."""
    shard = _SHARD.fullmatch(name)
    return (shard[1] + shard[4] if shard else name).removesuffix(".safetensors").partition(".")[2] or None


def _chosen(names: list[str]) -> list[str]:
    """The whole file where there is one, by diffusers' name where there are several, else the shards."""
    whole = [name for name in names if not _SHARD.fullmatch(name)]
    ours = [name for name in whole if name.startswith(("diffusion_pytorch_model.", "model."))]
    return (ours or whole)[:1] or names


def _missing_shards(names: list[str]) -> list[str]:
    shards = [shard for name in names if (shard := _SHARD.fullmatch(name))]
    if len(shards) < len(names) or not shards:  # a whole file is there
        return []
    begin, _, total, end = shards[0].groups()
    return [
        name for at in range(1, int(total) + 1) if (name := f"{begin}-{at:05d}-of-{total}{end}") not in names
    ]  # fmt: skip
