"""Which files a checkpoint consists of, and where the hub's shared cache keeps them. No network here.

The layout is the documented one of huggingface_hub, so weights that another program fetched are found and ours are
found by others::

    models--owner--name/refs/main                        the commit
                        blobs/<etag>                      contents
                        snapshots/<commit>/unet/...       links to blobs

A checkpoint whose U-Net comes from one repository and everything else from another is put together as a folder of
links into that cache, or of copies where links are not allowed (``compose``); a newer download is linked anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

UNET = "unet"
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""What diffusers calls a component's weights in full precision."""
PART = ".svd-ui.incomplete"
_TEXT = (".json", ".txt", ".model")  # configs, and the vocabularies of tokenizers


def repo_folder(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


def snapshot(cache: Path, repo: str) -> Path | None:
    """The folder of the newest commit fetched, whether complete or not."""
    folder = repo_folder(cache, repo)
    try:
        commit = (folder / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


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
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def variant_in(folder: Path, wanted: str | None) -> str | None:
    """The precision of the safetensors to read in a component's folder: ``wanted`` where it is there, else the full one.

    Many have half precision alone, which is then what there is. Raises FileNotFoundError without safetensors.
    """
    names = [path.name for path in folder.glob("*.safetensors")]
    if not names:
        raise FileNotFoundError(folder)
    for variant in (wanted, None):
        if any(_is_weight(name, variant) for name in names):
            return variant
    return min(mark for name in names for mark in _marks(name) if "-of-" not in mark)


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
    """Whether a diffusers folder holds every component, with weights where it has any and is not ``without``."""
    index = read_index(folder)
    return bool(index) and all(_has_component(folder / part, variant, part != without) for part in components(index))


def _has_component(folder: Path, variant: str | None, weighty: bool = True) -> bool:
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return False
    if not weighty or not (folder / "config.json").is_file():
        return True  # a scheduler, tokenizer or feature extractor has no weights
    weights = {path.name for path in folder.glob("*.safetensors") if path.is_file() and _is_weight(path.name, variant)}
    if any("-of-" not in name for name in weights):
        return True
    # Shards: the index of the same precision names every file that must be there.
    named: set[str] = set()
    for shard_index in folder.glob("*.safetensors.index*.json"):
        if _is_shard_index(shard_index.name, variant):
            named |= set(json.loads(shard_index.read_text("utf-8")).get("weight_map", {}).values())
    return bool(named) and named <= weights


def link(blob: Path, pointer: Path) -> None:
    """Put ``blob`` into a snapshot: a relative link, or the file itself where links are not allowed."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    if pointer.exists():
        return
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        os.replace(blob, pointer)


def set_main(cache: Path, repo: str, commit: str) -> None:
    ref = repo_folder(cache, repo) / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    fresh = ref.with_suffix(".new")
    fresh.write_text(commit, "utf-8")
    os.replace(fresh, ref)


def compose(target: Path, base: Path, unet_weights: Path, variant: str | None) -> Path:
    """``target`` as a diffusers folder: ``base`` with ``unet_weights`` in the place of its U-Net's own."""
    wanted = dict(_parts(base, variant)) | {Path(UNET) / WEIGHTS: unet_weights}
    for name, source in wanted.items():
        _follow(source, target / name)
    for path in target.rglob("*"):
        if not path.is_dir() and path.relative_to(target) not in wanted:
            path.unlink()
    return target


def _parts(base: Path, variant: str | None) -> Iterator[tuple[Path, Path]]:
    """Each file that loading needs of ``base``, by its name there."""
    present = [path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()]
    for name in select(read_index(base), present, variant, without=UNET):
        yield Path(name), base / name


def _follow(source: Path, target: Path) -> None:
    """``target`` becomes ``source``'s file, unless it is already."""
    source = source.resolve()
    if _is_same(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    for way in (os.symlink, os.link, shutil.copy2):
        try:
            way(source, target)
            return
        except OSError:
            if _is_same(source, target):  # another process of ours was faster
                return
            if way is shutil.copy2:
                raise


def _is_same(source: Path, target: Path) -> bool:
    """The same file, or a copy with its date."""
    if not target.exists():
        return False
    if target.samefile(source):
        return True
    one, other = source.stat(), target.stat()
    return not target.is_symlink() and (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
