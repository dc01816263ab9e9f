"""Which files a diffusers folder consists of, and which of them are missing or damaged. No network, no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..notes import WORDS, Note
from .weights import weight_file

UNET = "unet"
WEIGHTS = {
    UNET: "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "image_encoder": "model.safetensors",
}
"""The components of Stable Video Diffusion that have weights, and what diffusers calls these in full precision."""
_TEXT = (".json", ".txt", ".model")  # configs, and the vocabularies of tokenizers
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def components(index: dict[str, Any]) -> tuple[str, ...]:
    """The folders that ``model_index.json`` names: ``{"unet": ["diffusers", "UNet..."], "x": [null, null]}``."""
    return tuple(
        # A name becomes a folder: it must not lead anywhere else.
        name
        for name, value in index.items()
        if re.fullmatch(r"\w+", name) and isinstance(value, list) and value and value[0]
    )


def read_index(folder: Path) -> dict[str, Any]:
    """``model_index.json`` of a diffusers folder; empty when there is none."""
    return read_json(folder / "model_index.json")


def read_json(path: Path) -> dict[str, Any]:
    """An object; empty where ``path`` is not there or holds none."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def variant_in(folder: Path, wanted: str | None) -> str | None:
    """The precision of the safetensors to read in a component's folder: ``wanted`` where it is whole, else the full one.

    Many have half precision alone, which is then what there is. Raises FileNotFoundError without safetensors.
    """
    there = _variants(folder, wanted)
    if not there:
        raise FileNotFoundError(folder)
    whole = [variant for variant in there if _missing_weights(folder, variant) == []]
    sound = [variant for variant in whole if _damage(folder, variant) is None]
    return next(iter([*sound, *whole, *there]))


def weights_of(folder: Path, wanted: str | None) -> list[Path]:
    """The files that ``variant_in`` chooses, with the index of shards."""
    variant = variant_in(folder, wanted)
    weights = [path for path in _files(folder) if _is_weight(path.name, variant)]
    sharded = any("-of-" in path.name for path in weights)
    return weights + [path for path in _files(folder) if sharded and _is_shard_index(path.name, variant)]


def texts_of(folder: Path) -> list[Path]:
    """A component's configuration and vocabularies."""
    return [path for path in _files(folder) if path.suffix in _TEXT and ".index" not in path.name]


def _variants(folder: Path, wanted: str | None) -> list[str | None]:
    """The precisions of which there is a file, in order of preference."""
    names = [path.name for path in folder.glob("*.safetensors")]
    others = sorted({mark for name in names for mark in _marks(name) if "-of-" not in mark} - {wanted or ""})
    return [
        variant
        for variant in dict.fromkeys((wanted, None, *others))
        if any(_is_weight(name, variant) for name in names)
    ]


def _is_weight(path: str, variant: str | None) -> bool:
    """``unet/model.fp16.safetensors`` or a shard, ``model.fp16-00001-of-00002`` / ``model-00001-of-00002.fp16``."""
    name = path.rsplit("/", 1)[-1]
    if not name.endswith(".safetensors"):
        return False
    return variant in _marks(name) if variant else not _marks(name)


def _marks(name: str) -> set[str]:
    """``{"fp16"}`` of ``model.fp16.safetensors``; of a shard also the mark with its number."""
    return {mark for part in name.removesuffix(".safetensors").split(".")[1:] for mark in (part, part.split("-")[0])}


def select(index: dict[str, Any], paths: Iterable[str], variant: str | None, without: str | None = None) -> list[str]:
    """Of a repository's files, those that loading needs: configs, and safetensors of one precision.

    That is ``variant`` where every component with weights has it, else the full one. Of the component ``without``
    its weights are left out.
    """
    known = sorted(paths)
    parts = {name: [p for p in known if p.startswith(f"{name}/") and p.count("/") == 1] for name in components(index)}
    weighty = [own for own in parts.values() if any(path.endswith(".safetensors") for path in own)]
    if not all(any(_is_weight(path, variant) for path in own) for own in weighty):
        variant = None
    chosen = [path for path in known if path == "model_index.json"]
    for name, own in parts.items():
        weights = [path for path in own if name != without and _is_weight(path, variant)]
        sharded = any("-of-" in path for path in weights)
        texts = [path for path in own if path.endswith(_TEXT) and ".index" not in path]
        indexes = [path for path in own if sharded and _is_shard_index(path, variant)]
        chosen += [*texts, *indexes, *weights]
    return chosen


def _is_shard_index(path: str, variant: str | None) -> bool:
    """``model.safetensors.index.json`` or ``model.safetensors.index.fp16.json``."""
    ending = f".safetensors.index.{variant}.json" if variant else ".safetensors.index.json"
    return path.endswith(ending)


def is_complete(folder: Path, variant: str | None, without: str | None = None) -> bool:
    """Whether a diffusers folder of any kind holds every component, with weights where it has any and is not ``without``."""
    index = read_index(folder)
    return bool(index) and all(_has_component(folder / part, variant, part != without) for part in components(index))


def _has_component(folder: Path, variant: str | None, weighty: bool = True) -> bool:
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return False
    if not weighty or not (folder / "config.json").is_file():
        return True  # a scheduler, tokenizer or feature extractor has no weights
    return _missing_weights(folder, variant) == []


def _missing_weights(folder: Path, variant: str | None) -> list[str] | None:
    """Names of the shards of this precision that are not here; None where nothing of it is."""
    weights = {path.name for path in folder.glob("*.safetensors") if path.is_file() and _is_weight(path.name, variant)}
    if any("-of-" not in name for name in weights):
        return []
    # Shards: the index of the same precision names every file that must be there.
    named: set[str] = set()
    for shard_index in folder.glob("*.safetensors.index*.json"):
        if _is_shard_index(shard_index.name, variant):
            named |= set(map(str, read_json(shard_index).get("weight_map", {}).values()))
    return sorted(named - weights) if named else None


# Of Stable Video Diffusion


def lacking(folder: Path, link: str = "", *, unet: bool = True, checked: bool = True) -> Note | None:
    """What keeps a folder of the family from loading: weights that are missing or damaged. None where nothing does.

    Small configurations are filled in. ``checked`` opens the headers; ``unet`` False leaves the U-Net out.
    """
    for part in WEIGHTS if unet else [name for name in WEIGHTS if name != UNET]:
        note = lacking_part(folder / part, part, link, checked)
        if note is not None:
            return note
    return None


def lacking_part(folder: Path, part: str, link: str, checked: bool = True) -> Note | None:
    """As ``lacking``, of one component's folder."""
    there = _variants(folder, None)
    about = {"part": WORDS["components"][part], "get": get_from(link, part)}
    wanted = f"{part}/{WEIGHTS[part]}"
    if not there:
        pickle = next((path.name for path in _files(folder) if path.suffix in _PICKLES), None)
        if pickle is not None:
            return Note.of("weights_pickle_only", file=f"{part}/{pickle}", wanted=wanted, **about)
        return Note.of("weights_missing", wanted=wanted, **about)
    whole = [variant for variant in there if _missing_weights(folder, variant) == []]
    if not whole:
        missing = _missing_weights(folder, there[0]) or [WEIGHTS[part].replace(".", ".*.", 1)]
        return Note.of("weights_missing", wanted=f"{part}/{missing[0]}", **about)
    troubles = [_damage(folder, variant) for variant in whole] if checked else [None]
    return None if None in troubles else Note.of("weights_damaged", where=part, trouble=troubles[0], **about)


def _damage(folder: Path, variant: str | None) -> Note | None:
    weights = (path for path in _files(folder) if _is_weight(path.name, variant))
    return next(filter(None, map(damage_of, weights)), None)


def damage_of(path: Path) -> Note | None:
    """What is wrong with a file of weights; None where it is whole."""
    try:
        return weight_file(path).trouble
    except OSError as error:
        return Note.of("weights_closed", file=path.name, detail=error.strerror)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*")) if path.is_file())


def get_from(link: str, part: str = "") -> Note:
    """How to get what is missing."""
    if not link:
        return Note.of("get_where_it_came_from")
    return Note.of("get_from", link=f"{link}/tree/main/{part}".rstrip("/"))
