"""Findings about where the app writes: rights, room, the history, and what lies about."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ..errors import HistoryNewer, SvdUiError
from ..hub import Hub, existing, layout
from ..jobs.database import MIGRATIONS
from ..jobs.sqlite import BUSY_SECONDS
from ..notes import size
from ..settings import Settings
from .finding import Finding, Patient

ROOM = 1_000_000_000
"""Bytes without which clips, or the files they are put together from, soon find no place."""
HOUR, DAY = 3600.0, 86_400.0
UNFINISHED = ("*.tmp", "*.part")
"""With a dot before it, the name of what is being written; ``media.atomic`` and training give it."""


def places(patient: Patient) -> dict[str, Path]:
    """Where the app writes, by the variable that says so."""
    settings = patient.settings
    temporary = "TEMP" if os.name == "nt" else "TMPDIR"
    return {"SVD_UI_DATA_DIR": settings.data_dir, "HF_HOME": patient.hub.cache, temporary: Path(tempfile.gettempdir())}


def writable(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    file = settings.history_file
    inside = [settings.jobs_dir, settings.assets_dir, settings.models_dir, settings.training_dir]
    inside += [] if settings.is_shared else [file]
    found = [*places(patient).items(), *(("SVD_UI_DATA_DIR", path) for path in inside if path.exists())]
    for variable, path in found:
        there = existing(path)
        is_folder = path != file
        if is_folder and not there.is_dir():
            yield Finding("folder_is_file", {"path": str(there), "variable": variable})
        elif why := _unwritable(there, is_folder):
            yield Finding("folder_unwritable", {"path": str(there), "why": why, "variable": variable})


def _unwritable(path: Path, is_folder: bool) -> str:
    """Why nothing can be written there; a folder is tried, since rights alone do not tell."""
    try:
        if is_folder:
            tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path, os.W_OK) else "it is another user's"


def disk(patient: Patient) -> Iterator[Finding]:
    for variable, path in places(patient).items():
        with suppress(OSError):
            free = shutil.disk_usage(existing(path)).free
            if free < ROOM:
                yield Finding("disk_full", {"path": str(path), "free": size(free), "variable": variable})


def history(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.history_file
    if patient.settings.is_shared:
        yield from _shared_history(patient.settings)
        return
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        found, version = str(error), 0
    if found != "ok":
        yield Finding("history_damaged", {"path": str(path), "why": found})
    elif version > len(MIGRATIONS):
        yield Finding("history_newer", {"path": str(path)})


def _shared_history(settings: Settings) -> Iterator[Finding]:
    from ..jobs.postgres import PostgresDatabase

    try:
        PostgresDatabase(settings.database.get_secret_value(), settings.data_dir, "look").close()
    except HistoryNewer as error:
        yield Finding("history_newer", {"path": error.params["path"]})
    except SvdUiError as error:
        yield Finding("database_unusable", {"message": error.message.rstrip(".")})


def rubbish(patient: Patient) -> Iterator[Finding]:
    found = leftovers(patient)
    if found:
        total = size(sum(bytes_ for _, bytes_ in found))
        yield Finding("leftovers", {"count": len(found), "size": total}, wrong=False, repair="leftovers")


def leftovers(patient: Patient) -> list[tuple[Path, int]]:
    """(path, bytes) of what nothing will ever ask for: files of killed writers, uploads long taken over, broken downloads.

    What may still be in use is not among them: a writer's file is never an hour old.
    """
    settings, now = patient.settings, time.time()
    aged = [
        *((path, HOUR) for path in _unfinished(settings)),
        *((path, 2 * DAY) for path in _files(settings.data_dir / "uploads")),
        *_downloads(patient.hub),
        *((path, 0.0) for path in _files(settings.data_dir / "composed") if _dangles(path)),
    ]
    found = []
    for path, age in aged:
        with suppress(OSError):
            status = path.lstat()
            if now - status.st_mtime > age:
                found.append((path, status.st_size))
    return found


def _unfinished(settings: Settings) -> Iterator[Path]:
    for folder in (settings.jobs_dir, settings.assets_dir, settings.training_dir, settings.models_dir):
        for path in _files(folder):
            if path.name.startswith(".") and any(map(path.match, UNFINISHED)):
                yield path


def _downloads(hub: Hub) -> Iterator[tuple[Path, float]]:
    """Parts of what has arrived whole, or that nobody went on with for a month; links in our repositories to nothing."""
    for cached in hub.cached():
        for path in _files(cached.path):
            if path.name.endswith(layout.PART):
                whole = path.with_name(path.name.removesuffix(layout.PART)).exists()
                yield path, HOUR if whole or not path.stat().st_size else 30 * DAY
            elif _dangles(path):
                yield path, 0.0


def _dangles(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
