"""Where the hub's shared cache keeps the files of a checkpoint, and folders made of several sources. No network here.

The layout is the documented one of huggingface_hub, so weights that another program fetched are found and ours are
found by others::

    models--owner--name/refs/main                        the commit
                        blobs/<etag>                      contents
                        snapshots/<commit>/unet/...       links to blobs

A checkpoint whose U-Net comes from one repository and everything else from another is put together as a folder of
links to both, or of copies where links are not allowed (``compose``); a newer download is linked anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..catalog.folders import (
    UNET,
    WEIGHTS,
    components,
    is_complete,
    read_index,
    select,
    texts_of,
)
from ..weight_files import component_files

__all__ = [
    "PART",
    "UNET",
    "WEIGHTS",
    "components",
    "compose",
    "is_complete",
    "link",
    "read_index",
    "repo_folder",
    "select",
    "set_main",
    "snapshots",
]

PART = ".svd-ui.incomplete"


def repo_folder(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


def snapshots(cache: Path, repo: str) -> list[Path]:
    """The folders of the commits fetched, whether complete or not, the newest first; of equally new ones ``main``'s.

    Who downloads by revision has no ``refs/main``, or an older one.
    """
    folder = repo_folder(cache, repo)
    try:
        main = (folder / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        main = ""
    try:
        found = [(path.stat().st_mtime, path.name == main, path) for path in (folder / "snapshots").iterdir()]
    except OSError:
        return []
    return [path for *_, path in sorted(found, reverse=True) if os.path.isdir(path) and os.access(path, os.R_OK)]


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


def compose(target: Path, base: Path, unet: Path, variant: str | None) -> Path:
    """``target`` as a diffusers folder: ``base`` with ``unet``, a file or a folder, in the place of its U-Net.

    A ``base`` that is one file of everything stands for each of the other components.
    """
    wanted = {Path(name): source for name, source in (*_around(base, variant), *_unet(unet, variant))}
    for name, source in wanted.items():
        _follow(source, target / name)
    for path in target.rglob("*"):
        if not path.is_dir() and path.relative_to(target) not in wanted:
            path.unlink()
    return target


def _around(base: Path, variant: str | None) -> Iterator[tuple[str, Path]]:
    """Each file that loading needs beside the U-Net's weights, by its name in the folder."""
    if base.is_file():
        yield from ((f"{part}/{name}", base) for part, name in WEIGHTS.items() if part != UNET)
        return
    index = base / "model_index.json"
    yield from [(index.name, index)] if index.is_file() else []
    for part in dict.fromkeys((*components(read_index(base)), *WEIGHTS)):
        weights = component_files(base / part, (variant,)) if part in WEIGHTS and part != UNET else []
        yield from ((f"{part}/{path.name}", path) for path in (*texts_of(base / part), *weights))


def _unet(unet: Path, variant: str | None) -> Iterator[tuple[str, Path]]:
    if unet.is_file():
        yield f"{UNET}/{WEIGHTS[UNET]}", unet
        return
    yield from ((f"{UNET}/{path.name}", path) for path in (*texts_of(unet), *component_files(unet, (variant,))))


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
