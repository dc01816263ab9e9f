"""Which checkpoints there are: the embedded one, the folders found, those on the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..settings import REPOSITORY, Settings
from .checkpoint import ANIMATE_LCM, SD_PREVIEW, STABILITY_ROWS, CheckpointRow

NANO = REPOSITORY / "assets" / "nano"


def nano_row() -> CheckpointRow:
    """The embedded preview model; its own ``svd_ui.json`` holds its numbers."""
    return folder_row(
        NANO,
        id="nano",
        title="nano (preview, embedded)",
        rank=0,
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        note="A small preview model for machines without the real weights: low resolution, simple motion.",
    )


def folder_row(folder: Path, **overrides: Any) -> CheckpointRow:
    """A row for a diffusers folder: numbers from its ``svd_ui.json``, else from its U-Net's config.

    Raises BadInput when the folder does not hold an image-to-video pipeline of this family.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
        unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder.name} is not a diffusers checkpoint folder.", field="checkpoint") from error
    if index.get("_class_name") != "StableVideoDiffusionPipeline":
        raise BadInput(f"{folder.name} holds another kind of pipeline.", field="checkpoint")
    own = folder / "svd_ui.json"
    data = json.loads(own.read_text("utf-8")) if own.is_file() else {}
    known = {key: value for key, value in data.items() if key in CheckpointRow.model_fields}
    latent = int(unet.get("out_channels", 4))
    base = {
        "id": f"local:{folder.name}",
        "title": folder.name,
        "num_frames": int(unet.get("num_frames", 14)),
        "width": 1024,
        "height": 576,
        "preview": SD_PREVIEW if latent == 4 else (),
        "rank": 15,
    }
    return CheckpointRow.model_validate({**base, **known, **overrides, "folder": folder})


def checkpoint_dirs(settings: Settings) -> list[Path]:
    """Where checkpoint folders are looked for, in order."""
    more = [Path(part) for part in settings.checkpoint_dirs.split(os.pathsep) if part]
    return [settings.models_dir, REPOSITORY / "models", *more]


def _discovered(dirs: Iterable[Path]) -> Iterator[CheckpointRow]:
    for parent in dirs:
        for folder in _folders(parent):
            try:
                if (folder / "model_index.json").is_file():
                    yield folder_row(folder)
            except (BadInput, OSError, ValueError, TypeError, AttributeError):
                continue  # another kind of model beside ours, a broken or an unreadable one is not an error


def _folders(parent: Path) -> list[Path]:
    try:
        # A name with a leading dot is a folder that is still being written.
        return [parent, *sorted(p for p in parent.iterdir() if not p.name.startswith("."))] if parent.is_dir() else []
    except OSError:  # not ours to read
        return []


def checkpoints(settings: Settings) -> dict[str, CheckpointRow]:
    """All rows by id: nano, the folders found, those on the hub. The first of two equal names wins."""
    rows: dict[str, CheckpointRow] = {}
    if (NANO / "model_index.json").is_file():
        rows["nano"] = nano_row()
    for row in (*_discovered(checkpoint_dirs(settings)), *STABILITY_ROWS, ANIMATE_LCM):
        rows.setdefault(row.id, row)
    return rows


def find_checkpoint(settings: Settings, id: str) -> CheckpointRow:
    """The row named ``id`` (not ``auto``); raises BadInput with the known names."""
    rows = checkpoints(settings)
    if id not in rows:
        raise BadInput(f"There is no checkpoint '{id}'. Known: {', '.join(rows)}.", field="checkpoint")
    return rows[id]
