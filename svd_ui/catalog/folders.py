"""Which files a diffusers folder consists of, and which of them are missing or damaged. No network, no torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import WeightsDamaged
from ..notes import WORDS, Note
from ..weight_files import Check, component_files
from .weights import check, note_of

UNET = "unet"
WEIGHTS = {
    UNET: "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "image_encoder": "model.safetensors",
}
"""The components of Stable Video Diffusion that have weights, and what diffusers calls these in full precision."""
_TEXT = (".json", ".txt", ".model")  # configs, and the vocabularies of tokenizers


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
        data = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def texts_of(folder: Path) -> list[Path]:
    """A component's configuration and vocabularies."""
    return [path for path in sorted(folder.glob("*")) if path.suffix in _TEXT and ".index" not in path.name]


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


def is_complete(folder: Path, variant: str | None) -> bool:
    """Whether a diffusers folder of any kind holds every component, with weights where it has any."""
    index = read_index(folder)
    return bool(index) and all(_has_component(folder / part, variant) for part in components(index))


def _has_component(folder: Path, variant: str | None) -> bool:
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return False
    if not (folder / "config.json").is_file():
        return True  # a scheduler, tokenizer or feature extractor has no weights
    weights = {path.name for path in folder.glob("*.safetensors") if path.is_file() and _is_weight(path.name, variant)}
    if any("-of-" not in name for name in weights):
        return True
    # Shards: the index of the same precision names every file that must be there.
    named: set[str] = set()
    for shard_index in folder.glob("*.safetensors.index*.json"):
        if _is_shard_index(shard_index.name, variant):
            named |= set(map(str, read_json(shard_index).get("weight_map", {}).values()))
    return bool(named) and named <= weights


def commits(repo: Path) -> list[Path]:
    """The commits in a repository's folder of the hub's cache, whole or not, the newest first; of equally new ones ``main``'s.

    Who downloads by revision has no ``refs/main``, or an older one.
    """
    try:
        main = (repo / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        main = ""
    try:
        found = [(path.stat().st_mtime, path.name == main, path) for path in (repo / "snapshots").iterdir()]
    except OSError:
        return []
    return [path for *_, path in sorted(found, reverse=True) if os.path.isdir(path) and os.access(path, os.R_OK)]


# Of Stable Video Diffusion


def lacking(folder: Path, link: str = "", *, unet: bool = True, check: Check = check) -> Note | None:
    """What keeps a folder of the family from loading: weights that are missing or damaged. None where nothing does.

    Small configurations are filled in. ``unet`` False leaves the U-Net out.
    """
    parts = [name for name in WEIGHTS if unet or name != UNET]
    return next(filter(None, (lacking_part(folder / part, part, link, check) for part in parts)), None)


def lacking_part(folder: Path, part: str, link: str, check: Check = check) -> Note | None:
    """As ``lacking``, of one component's folder."""
    try:
        component_files(folder, check=check)
    except WeightsDamaged as error:
        words = {"wanted": f"{part}/{WEIGHTS[part]}", "part": WORDS["components"][part]}
        source = f"{link}/tree/main/{part}"
        remedy = Note.of("get_weights_from", link=source, **words) if link else Note.of("get_weights", **words)
        named = folder.parent if folder.name == part else folder
        return note_of(WeightsDamaged(**error.params | {"file": f"{named.name}/{error.params['file']}"}), remedy)
    return None
