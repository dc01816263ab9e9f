"""What a checkpoint is made of on this machine: commits in the hub's caches, files and folders found elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from ..catalog import STABILITY_ROWS, CheckpointRow, checkpoints, trouble_of
from ..catalog.folders import lacking
from ..catalog.weights import check_length, holds
from ..settings import Settings
from . import layout


class Sources:
    """Looks into ``caches``, and where models are found by ``settings``."""

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
        return [path for cache in self._caches for path in layout.snapshots(cache, repo)] if repo else []


def older_caches() -> list[Path]:
    """Where older releases of transformers and diffusers keep repositories, in the same layout."""
    from huggingface_hub import constants

    named = [os.environ.get(name) for name in ("TRANSFORMERS_CACHE", "DIFFUSERS_CACHE")]
    at_home = [Path(constants.HF_HOME) / name for name in ("diffusers", "transformers")]
    return [*map(Path, filter(None, named)), *at_home]
