"""What each file of weights on this machine is, and whether it is whole: by its size and its header, remembered. No torch."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..errors import GET_AGAIN, WeightsDamaged
from ..notes import WORDS, Note, sentence
from ..stability_keys import COMPONENTS, Header, Tensors
from ..weight_files import FORMATS, checked_header, damaged, read_header

What = Literal["pipeline", "unet", "lora", "other"]
_LORA = re.compile(r"\.lora_|\.lora\.(up|down)\.|_lora\.|\.hada_|\.lokr_|\.alpha$")
_OTHERS: dict[str, str] = WORDS["other weight files"]
"""A part of a tensor's name => what such a file is; the first that is found counts."""
_WHOLE_NUMBERS = {"I64", "I32"}
"""Older transformers stored the numbers of the positions too."""
_OF_VIDEO = (b"time_stack", b"temporal_")
"""Parts of names in every file of the family: a header without them need not be parsed, which takes milliseconds."""
_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, struct.error)
"""What reading JSON raises that is not what a header should be: anybody's file may lie in a place for models."""


@dataclass(frozen=True)
class Kind:
    """What a weight file is. ``pipeline`` has everything; ``unet`` a U-Net of the family and what else ``parts`` names.

    ``trouble`` says why it cannot be used, or of a ``unet`` what is missing beside it; its parameter ``file`` is the
    file's name. ``stability`` is whether its names are Stability's.
    """

    what: What
    parts: frozenset[str] = frozenset()
    stability: bool = False
    trouble: Note | None = None


def kind_of(header: Header, file: str = "") -> Kind:
    """What the file with this header is, by its tensors' names, shapes and number formats; never by its own name."""
    names = [name for name in header if name != "__metadata__"]
    if any(_LORA.search(name) for name in names):
        return Kind("lora", trouble=Note.of("file_is_lora", file=file))
    found = {part: tensors for part in COMPONENTS if (tensors := Tensors.find(header, part)) is not None}
    unet = found.get("unet")
    if unet is None or not _is_video(unet) or unet.shape("conv_out.weight") is None:
        return Kind("other", trouble=_other(names, file))
    numbers, picture, noise = (
        unet.shape(f"{name}.weight") for name in ("add_embedding.linear_1", "conv_in", "conv_out")
    )
    if numbers is None or numbers[1] % 3:  # beside the picture go fps, motion and noise; SV3D and SV4D take angles
        return Kind("other", trouble=Note.of("file_is_other", file=file, what=WORDS["other weight files"]["sv3d"]))
    if picture is None or noise is None or picture[1] != 2 * noise[0]:
        channels = (picture or (0, 0))[1]
        return Kind("other", trouble=Note.of("file_takes_more", file=file, channels=channels))
    strange = sorted({one for tensors in found.values() for one in tensors.formats() - FORMATS - _WHOLE_NUMBERS})
    if strange:
        return Kind("other", trouble=Note.of("file_is_quantised", file=file, formats=strange))
    parts = frozenset(part for part, tensors in found.items() if _is_whole(part, tensors))
    stability = unet.stability
    if parts == set(COMPONENTS):
        return Kind("pipeline", parts, stability)
    missing = [WORDS["components"][part] for part in COMPONENTS if part not in parts]
    if "vae" in found and "vae" not in parts:
        return Kind("unet", parts, stability, Note.of("file_without_time", file=file, missing=missing))
    return Kind("unet", parts, stability, Note.of("file_lacks", file=file, missing=missing))


def _is_video(unet: Tensors) -> bool:
    return unet.shape("mid_block.resnets.0.temporal_res_block.conv1.weight") is not None


def _is_whole(part: str, tensors: Tensors) -> bool:
    """An autoencoder needs its encoder, and a decoder that knows of time."""
    wanted = {
        "unet": ["conv_out.weight"],
        "vae": ["encoder.conv_out.weight", "decoder.time_conv_out.weight"],
        "image_encoder": ["visual_projection.weight"],
    }
    return all(tensors.shape(name) is not None for name in wanted[part])


def _other(names: Sequence[str], file: str) -> Note:
    for mark, what in _OTHERS.items():
        if any(mark in name for name in names):
            return Note.of("file_is_other", file=file, what=what)
    return Note.of("file_unknown", file=file)


# On this machine


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
