"""Where a finished clip is copied to, and under which name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..jobs import Job, file_of
from ..media import atomic
from ..request import GenerationRequest

if TYPE_CHECKING:
    from ..jobs.service import JobService

FORMATS = {".mp4": "mp4", ".gif": "gif", ".webp": "webp", ".zip": "png"}
"""What a file's ending asks for; a zip holds all frames as png."""
SHEET = "wall.jpg"


def format_of(target: Path | None) -> str | None:
    """The output format that ``-o clip.gif`` implies; None for mp4, folders and no name at all. Raises BadInput."""
    if target is None or target.is_dir():
        return None
    name = FORMATS.get(target.suffix.lower())
    if name is None:
        raise BadInput(f"{target} must end in {', '.join(FORMATS)}, or be a folder that exists.")
    return None if name == "mp4" else name


def place(target: Path | None, source: Path | None, request: GenerationRequest) -> Path:
    """The file to write, or a wall's folder, checked before any work: it can be made, and is writable."""
    if request.wall:
        return _wall_place(target, source, request)
    path = (
        target if target is not None and not target.is_dir() else (target or Path()) / f"{_name(source, request)}.mp4"
    )
    wanted = FORMATS[path.suffix.lower()]
    if wanted not in ("mp4", request.output_format):
        raise BadInput(f"{path.name} is not what --output-format {request.output_format} makes.", field="output_format")
    return _writable(path)


def _wall_place(target: Path | None, source: Path | None, request: GenerationRequest) -> Path:
    """The folder for a wall's tiles; made when they are there."""
    if target is not None and target.suffix.lower() in FORMATS:
        raise BadInput(f"A wall is many files: {target} must be a folder.")
    folder = target or Path(f"{_name(source, request)}-wall")
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file: a wall needs a folder.")
    return _writable(folder / SHEET).parent


def _writable(path: Path) -> Path:
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInput(f"{path} cannot be written: {folder} is not a folder that may be written to.")
    return path


def deliver(jobs: JobService, job: Job, path: Path) -> list[Path]:
    """Copy the results of a finished job to ``path`` and, other than the clip itself, beside it; a wall's into it."""
    written = []
    for name, target in _targets(job, path).items():
        stored = jobs.file(job, name)
        if stored is not None:
            _copy(stored, target)
            written.append(target)
    return written


def _targets(job: Job, path: Path) -> dict[str, Path]:
    """Where each file of the job goes."""
    if job.result is not None and job.result.tiles:
        tiles = {
            file_of(index): path / f"tile-{index:02}-seed-{tile.seed}-motion-{tile.motion_bucket_id}.mp4"
            for index, tile in enumerate(job.result.tiles)
        }
        return {"poster": path / SHEET, **tiles}
    beside = {
        "frames": path.with_name(f"{path.stem}-frames.zip"),
        "animation": path.with_suffix(f".{job.request.output_format}"),
    }
    if path.suffix.lower() == ".zip":
        return {"frames": path}
    return {"video": path, **beside} if path.suffix.lower() == ".mp4" else {"animation": path}


def _copy(stored: Path, target: Path) -> None:
    try:
        with atomic(target) as temporary:
            shutil.copyfile(stored, temporary)
    except OSError as error:
        raise BadInput(f"{target} cannot be written ({error.strerror}); the clip is kept as {stored}.") from error


def _name(source: Path | None, request: GenerationRequest) -> str:
    """``<stem>-<seed>``: of the picture, else of the prompt's first words."""
    words = "".join(c if c.isalnum() else " " for c in (request.prompt or "").lower()).split()
    stem = source.stem if source else "-".join(words)[:40].strip("-")
    return f"{stem or 'clip'}-{request.seed}"
