"""A checkpoint whose U-Net comes from one repository and everything else from another, as one diffusers folder.

The folder holds links into the hub's cache, or copies where links are not allowed, and follows it: a newer download
is linked anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import layout

UNET = "unet"
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""What diffusers calls a component's weights in full precision."""


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
    for name in layout.select(layout.read_index(base), present, variant, without=UNET):
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
