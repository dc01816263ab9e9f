"""Which checkpoints there are: the embedded one, the folders found, those on the hub."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import BadInput
from ..plugins import CHECKPOINTS, Plugin, load
from ..settings import REPOSITORY, Settings
from .checkpoint import ANIMATE_LCM, OLD_NAMES, SD_PREVIEW, STABILITY_ROWS, CheckpointRow
from .families import family_of

log = logging.getLogger(__name__)
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

    Raises BadInput when the folder does not hold an image-to-video pipeline of a family that is known here.
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
    known = {key: value for key, value in data.items() if key in CheckpointRow.model_fields or key in OLD_NAMES}
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
    row = CheckpointRow.model_validate({**base, **known, **overrides, "folder": folder})
    family_of(row)
    return row


def checkpoint_dirs(settings: Settings) -> list[Path]:
    """Where checkpoint folders are looked for, in order."""
    more = [Path(part).expanduser() for part in settings.checkpoint_dirs.split(os.pathsep) if part]
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


@cache
def added_rows() -> tuple[CheckpointRow, ...]:
    """Rows of other packages: an entry point of ``svd_ui.checkpoints`` is a row, rows, or a function that returns them.

    A module is asked for its function ``rows``; it may have none where all it does is to register a family.
    """
    return tuple(row for plugin in load(CHECKPOINTS) for row in _rows_of(plugin))


def _rows_of(plugin: Plugin) -> tuple[CheckpointRow, ...]:
    given = plugin.loaded
    try:
        given = getattr(given, "rows", ()) if isinstance(given, ModuleType) else given
        given = given() if callable(given) else given
        rows = (given,) if isinstance(given, CheckpointRow) else tuple(given or ())
        for row in rows:
            family_of(row)
        return rows
    except Exception as error:  # as many kinds of failure as there are packages
        log.warning("the checkpoints of %s were left out", plugin.value, exc_info=error)
        return ()


def checkpoints(settings: Settings) -> dict[str, CheckpointRow]:
    """All rows by id: nano, the folders found, those on the hub, other packages'. The first of two equal names wins."""
    rows: dict[str, CheckpointRow] = {}
    if (NANO / "model_index.json").is_file():
        rows["nano"] = nano_row()
    for row in (*_discovered(checkpoint_dirs(settings)), *STABILITY_ROWS, ANIMATE_LCM, *added_rows()):
        rows.setdefault(row.id, row)
    return rows


def find_checkpoint(settings: Settings, id: str) -> CheckpointRow:
    """The row named ``id`` (not ``auto``); raises BadInput with the known names."""
    rows = checkpoints(settings)
    if id not in rows:
        raise BadInput(f"There is no checkpoint '{id}'. Known: {', '.join(rows)}.", field="checkpoint")
    return rows[id]
