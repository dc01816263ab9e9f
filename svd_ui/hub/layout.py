"""Where the hub's shared cache keeps the files of a checkpoint, and what a checkpoint is made of here. No network.

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

from ..catalog import STABILITY_ROWS, CheckpointRow, checkpoints, trouble_of
from ..catalog.folders import UNET, WEIGHTS, commits, components, lacking, read_index, texts_of
from ..catalog.weights import check_length, holds
from ..settings import Settings
from ..weight_files import component_files

PART = ".svd-ui.incomplete"


def repo_folder(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


class Sources:
    """What of a checkpoint is on this machine: in ``caches``, and where models are found by ``settings``."""

    def __init__(self, settings: Settings, caches: list[Path]) -> None:
        self._settings, self._caches = settings, caches

    def unet(self, row: CheckpointRow) -> Path | None:
        """The U-Net of a row that is made of two parts."""
        found = self.snapshots(row.repo)
        named = (path / (row.unet_file or "") for path in found)
        others = (file for path in found for file in sorted(path.glob("*.safetensors")) if holds(file, "unet"))
        here = [*filter(None, [row.unet]), *filter(os.path.isfile, named), *others, *row.sources]
        return next(iter(here), None)

    def base(self, row: CheckpointRow) -> Path | None:
        """Where everything but the U-Net comes from: ``base_repo``, or another of the family that is here."""
        rows = checkpoints(self._settings).values()
        here = [one for one in rows if one.path and not one.unet and len(one.preview) == 4 and not trouble_of(one)]
        family = sorted(STABILITY_ROWS, key=lambda one: one.repo != row.base_repo)
        for known in family:
            named = (one.path for one in here if one.same_as == known.id)
            base = self.snapshot(known.repo, unet=False) or next(named, None)
            if base is not None:
                return base
        return next((one.path for one in here), None)

    def snapshot(self, repo: str | None, unet: bool = True) -> Path | None:
        """The newest commit of an image-to-video repository that is whole, in any precision; or its one file."""
        found = self.snapshots(repo)
        whole = (path for path in found if lacking(path, unet=unet, check=check_length) is None)
        files = (file for path in found for file in path.glob("*.safetensors") if holds(file, "pipeline"))
        return next(whole, None) or next(files, None)

    def snapshots(self, repo: str | None) -> list[Path]:
        return [path for cache in self._caches for path in commits(repo_folder(cache, repo))] if repo else []


def older_caches() -> list[Path]:
    """Where older releases of transformers and diffusers keep repositories, in the same layout."""
    from huggingface_hub import constants

    named = [os.environ.get(name) for name in ("TRANSFORMERS_CACHE", "DIFFUSERS_CACHE")]
    at_home = [Path(constants.HF_HOME) / name for name in ("diffusers", "transformers")]
    return [*map(Path, filter(None, named)), *at_home]


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
