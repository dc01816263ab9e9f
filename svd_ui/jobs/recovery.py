"""A new history from the clips themselves: each carries its settings, and its folder says which job it was."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..engine.output import FRAMES, LATENTS, POSTER, VIDEO
from ..errors import BadInput, SvdUiError
from ..events import Result
from ..request import SCHEMA_VERSION
from ..settings import Settings
from ..settings_tag import open_settings
from .database import Database
from .sqlite import SqliteDatabase
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

    Nothing is deleted. In a PostgreSQL what is there stays, and clips it does not know are added. Walls, waiting jobs and who owned
    what are lost: clips become the operator's. Raises BadInput while a sound history is in use, or an SvdUiError where nothing
    can be written.
    """
    _refuse_in_use(settings)
    if settings.is_shared:
        return Recovered(*_rebuilt(settings, open_database(settings)), None)
    made = settings.history_file.with_name(settings.history_file.name + ".recovering")
    _remove(made)
    try:
        done, unreadable = _rebuilt(settings, SqliteDatabase(made))
    except BaseException:  # a full disk, say: what was there stays in its place
        _remove(made)
        raise
    kept = _put_aside(settings.history_file)
    os.replace(made, settings.history_file)
    return Recovered(done, unreadable, kept)


def _rebuilt(settings: Settings, database: Database) -> tuple[int, tuple[str, ...]]:
    """(clips that ``database`` did not know, folders whose clip tells nothing); closes it."""
    store, done, unreadable = Store(database), 0, list[str]()
    try:
        known = {row["id"] for row in database.read("SELECT id FROM jobs")}
        found = [folder for folder in _folders(settings) if folder.name not in known]
        for folder in sorted(found, key=lambda folder: (folder / VIDEO).stat().st_mtime):
            try:
                _restore(store, folder)
                done += 1
            except BadInput:
                unreadable.append(folder.name)
    finally:
        database.close()
    return done, tuple(unreadable)


def _remove(path: Path) -> None:
    for ending in _REST:
        path.with_name(path.name + ending).unlink(missing_ok=True)


def unlisted(settings: Settings) -> int:
    """Clips that lie here; what an empty history has lost."""
    return sum(1 for _ in _folders(settings))


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
        busy = bool(live(database) or live(database, "cli"))
    except (SvdUiError, ValueError):  # damaged rows: nobody works with these
        return
    finally:
        database.close()
    if busy:
        raise BadInput("The app is running on this history: stop it first.")


def _put_aside(path: Path) -> Path | None:
    """Where the history, and what SQLite keeps beside it, was moved."""
    if not os.path.lexists(path):
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (
        path.with_name(f"{path.name}.{stamp}{more}.kept") for more in chain([""], (f"-{number}" for number in count(2)))
    )
    kept = next(name for name in names if not os.path.lexists(name))
    for ending in _REST:
        there = path.with_name(path.name + ending)
        if os.path.lexists(there):
            shutil.move(there, kept.with_name(kept.name + ending))
    return kept
