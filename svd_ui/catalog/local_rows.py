"""Rows for what lies on this machine: a diffusers folder, one file of everything, or a U-Net that is joined with a base."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import BadInput, WeightsDamaged
from ..loras import clean
from ..notes import Note, sentence
from ..weight_files import read_config
from .checkpoint import OLD_NAMES, CheckpointRow
from .families import family_of
from .folders import UNET, lacking, lacking_part
from .recognition import SVD_XT, likeness, short_title
from .weights import weight_file, with_link

PIPELINE, UNET_CLASS = "StableVideoDiffusionPipeline", "UNetSpatioTemporalConditionModel"
_NAMELESS = re.compile(r"models?|checkpoints?|(diffusion_)?pytorch_model|unet|snapshots|[0-9a-f]{40}", re.IGNORECASE)
"""Names that tell nothing: what stands above them does."""
_NOT_INHERITED = {"id", "title", "repo", "unet_file", "base_repo", "gated", "download_bytes", "rank", "link", "note"}
_NOT_TOLD = {"folder", "file", "unet", "sources", "same_as", "repo", "unet_file", "base_repo"}
"""Fields that no file of a checkpoint can set: they say where it is."""
AROUND_THE_UNET_BYTES = 1_480_000_000
"""What SVD-XT's autoencoder and picture encoder are to download."""


def folder_row(folder: Path, *, around: Sequence[str] = (), **overrides: Any) -> CheckpointRow:
    """A row for a diffusers folder: what its ``svd_ui.json`` says, else the numbers of what it is by name and configuration.

    Raises BadInput when the folder does not hold an image-to-video pipeline of a family that is known here.
    """
    index, unet = (_object(folder, name) for name in ("model_index.json", f"{UNET}/config.json"))
    if not (folder / UNET).is_dir():
        raise BadInput(f"{folder.name} is not a diffusers checkpoint folder.", field="checkpoint")
    if index is not None and index.get("_class_name") != PIPELINE:
        raise BadInput(f"{folder.name} is a different kind of pipeline.", field="checkpoint")
    return _row(folder, "folder", around, unet or {}, overrides | {"folder": folder})


def unet_row(path: Path, *, around: Sequence[str] = ()) -> CheckpointRow:
    """A row for a U-Net alone: a file of any layout, a folder that holds one as ``unet``, or that folder itself."""
    inner = path / UNET if (path / UNET).is_dir() else path
    config = {} if path.is_file() else _object(inner, "config.json") or {}
    return _row(path, UNET, around, config, {"unet": path if path.is_file() else inner})


def file_row(file: Path, *, around: Sequence[str] = ()) -> CheckpointRow:
    """A row for one file of everything."""
    return _row(file, "file", around, {}, {"file": file})


def trouble_of(row: CheckpointRow) -> Note | None:
    """What is wrong with the files of a row that lies on this machine; None where it can be used, or lies elsewhere."""
    if row.folder is not None:
        return lacking(row.folder, row.link)
    if row.unet is not None and os.path.isdir(row.unet):
        return lacking_part(row.unet, UNET, row.link)
    path = row.file or row.unet
    trouble = weight_file(path).trouble if path is not None else None
    return with_link(trouble, row.link) if trouble is not None else None


def _row(path: Path, where: str, around: Sequence[str], unet: dict[str, Any], fixed: dict[str, Any]) -> CheckpointRow:
    name = path.stem if path.is_file() else _bare(path.name)
    repository = [part.name for part in path.parents[:3] if part.name.startswith("models--")]  # of a hub's cache
    names = [_bare(part) for part in (name, *around, *repository)]
    name = next((part for part in names if not _NAMELESS.fullmatch(part)), name) if path.is_dir() else name
    shown = clean(name)
    told = {} if path.is_file() else _object(path, "svd_ui.json") or {}
    known = {key: told[key] for key in told if key in CheckpointRow.model_fields or key in OLD_NAMES}
    base = _numbers(names, where, unet) if unet.get("out_channels", 4) == 4 else _unknown(unet)
    if told and not base.get("same_as"):  # it speaks for itself
        base |= {"title": shown, "note": ""}
    if OLD_NAMES & {*known, *fixed}:
        base.pop("family", None)
    values = (
        {"title": shown, **base, "id": f"local:{shown}"} | {k: known[k] for k in known if k not in _NOT_TOLD} | fixed
    )
    try:
        row = CheckpointRow.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise BadInput(f"{path.name}: its svd_ui.json cannot be used: {what}.") from error
    family_of(row).check_row(row)
    return row


def _numbers(names: Sequence[str], where: str, unet: dict[str, Any]) -> dict[str, Any]:
    """The values of the row in the catalogue that it is, or is most like; and what was taken for granted."""
    own, *above = [name for name in names if not _NAMELESS.fullmatch(name)] or names[:1]
    frames = unet["num_frames"] if isinstance(unet.get("num_frames"), int) else None
    is_like = likeness(own, [*above, str(unet.get("_name_or_path", ""))], frames, where == UNET)
    row = is_like.row
    values = row.model_dump(exclude=_NOT_INHERITED) | {"num_frames": is_like.num_frames, "rank": 15}
    notes = [row.note if is_like.certain else "", sentence(is_like.note)]
    values["note"] = " ".join(filter(None, notes))
    if is_like.certain:
        values |= {"title": f"{row.title}, {clean(own)}", "same_as": row.id, "link": row.link, "rank": row.rank - 1}
    else:
        values["title"] = f"{clean(own)} (like {short_title(row)})"
    if where == UNET:
        base = row.base_repo or (SVD_XT if row.gated else row).repo
        values |= {"base_repo": base, "download_bytes": AROUND_THE_UNET_BYTES}
    return values


def _unknown(unet: dict[str, Any]) -> dict[str, Any]:
    """Of another latent space than Stable Video Diffusion's."""
    return {"num_frames": unet.get("num_frames", 14), "width": 1024, "height": 576, "rank": 15}


def _bare(name: str) -> str:
    """``models--stabilityai--stable-video-diffusion-img2vid`` => the repository's name."""
    return name.rpartition("--")[2] if name.startswith("models--") else name


def _object(folder: Path, name: str) -> dict[str, Any] | None:
    """A JSON file of ``folder``, None where it is not there. Raises BadInput for one that holds something else."""
    try:
        return read_config(folder / name)
    except WeightsDamaged as error:
        raise BadInput(f"{folder.name}: {error.message}", field="checkpoint") from error
