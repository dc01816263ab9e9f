"""A new history from the clips themselves: each carries its settings, and its folder says which job it was."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.output import FRAMES, LATENTS, POSTER, VIDEO
from ..errors import BadInput, HistoryUnusable, SvdUiError
from ..events import Result
from ..request import SCHEMA_VERSION
from ..settings import Settings
from ..settings_tag import open_settings
from .store import Store, open_database

OWNER = "recovered"
_ID = re.compile(r"[0-9a-f]{32}")
_REST = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Recovered:
    """``kept`` is where the history that was there lies now; ``unreadable`` are folders whose clip tells nothing."""

    jobs: int
    unreadable: tuple[str, ...]
    kept: Path | None


def recover(settings: Settings) -> Recovered:
    """Put the history aside, if there is one, and make a new one of every finished clip in the jobs folder.

    Nothing is deleted. In a PostgreSQL what is there stays, and clips it does not know are added. Walls, waiting jobs and who owned what are lost: clips become the operator's. Raises BadInput while a
    sound history is in use, or an SvdUiError where nothing can be written.
    """
    _refuse_in_use(settings)
    kept = None if settings.is_shared else _put_aside(settings.history_file)
    database = open_database(settings)
    store, done, unreadable = Store(database), 0, list[str]()
    try:
        known = {row["id"] for row in database.read("SELECT id FROM jobs")}
        found = [folder for folder in _folders(settings) if folder.name not in known]
        for folder in sorted(found, key=lambda folder: (folder / VIDEO).stat().st_mtime):
            try:
                _restore(store, folder)
                done += 1
            except SvdUiError:
                unreadable.append(folder.name)
    finally:
        database.close()
    return Recovered(done, tuple(unreadable), kept)


def _folders(settings: Settings) -> Iterator[Path]:
    for path in settings.jobs_dir.glob("*"):
        if _ID.fullmatch(path.name) and (path / VIDEO).is_file():
            yield path


def _restore(store: Store, folder: Path) -> None:
    """The row of one clip. Raises BadInput where it carries no settings."""
    video = folder / VIDEO
    found = open_settings(video)
    names = {"poster": POSTER, "latents": LATENTS, "frames": FRAMES}
    files = {name: file for name, file in names.items() if (folder / file).is_file()}
    animation = next((path.name for path in folder.glob("clip.*") if path.suffix in (".gif", ".webp")), None)
    if found.request.image is None:
        raise BadInput("That clip does not say which picture it was made from.")
    values: dict[str, Any] = {"request": found.request, "image": found.request.image, "video": VIDEO, **files}
    versions = {str(name): str(value) for name, value in found.versions.items()}
    result = Result(**values, animation=animation, versions=versions)
    when = video.stat().st_mtime
    store.add(folder.name, OWNER, "clip", found.request)
    with store.database.write() as sql:
        sql.execute(
            "UPDATE jobs SET state = 'finished', result = ?, schema = ?, created = ?, started = ?, ended = ?, updated = ?"
            " WHERE id = ?",
            (result.model_dump_json(), SCHEMA_VERSION, when, when, when, time.time(), folder.name),
        )


def _refuse_in_use(settings: Settings) -> None:
    from .leases import live

    try:
        database = open_database(settings)
    except SvdUiError:
        if settings.is_shared:
            raise
        return
    try:
        if live(database) or live(database, "cli"):
            raise BadInput("The app is running on this history: stop it first.")
    except HistoryUnusable:
        return
    finally:
        database.close()


def _put_aside(path: Path) -> Path | None:
    """Where the history, and what SQLite keeps beside it, was moved."""
    if not path.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    kept = path.with_name(f"{path.name}.{stamp}.kept")
    for ending in _REST:
        there = path.with_name(path.name + ending)
        if there.exists():
            shutil.move(there, kept.with_name(kept.name + ending))
    return kept
