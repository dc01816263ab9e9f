"""Findings about where the app writes: rights, room, the history, and what lies about."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ..jobs.database import BUSY_SECONDS, MIGRATIONS
from ..notes import size
from .finding import Finding, Patient
from .leftovers import leftovers

ROOM = 1_000_000_000
"""Bytes without which clips, or the files they are put together from, soon find no place."""


def places(patient: Patient) -> dict[str, Path]:
    """Where the app writes, by the variable that says so."""
    settings = patient.settings
    temporary = "TEMP" if os.name == "nt" else "TMPDIR"
    return {"SVD_UI_DATA_DIR": settings.data_dir, "HF_HOME": patient.hub.cache, temporary: Path(tempfile.gettempdir())}


def writable(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    inside = (settings.jobs_dir, settings.assets_dir, settings.models_dir, settings.training_dir, settings.database)
    found = [*places(patient).items(), *(("SVD_UI_DATA_DIR", path) for path in inside if path.exists())]
    for variable, path in found:
        there = _existing(path)
        is_folder = path != settings.database
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
            free = shutil.disk_usage(_existing(path)).free
            if free < ROOM:
                yield Finding("disk_full", {"path": str(path), "free": size(free), "variable": variable})


def _existing(path: Path) -> Path:
    """``path``, or what is there of it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def history(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.database
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
        yield Finding("history_newer", {"path": str(path)}, wrong=False)


def rubbish(patient: Patient) -> Iterator[Finding]:
    found = leftovers(patient.settings, patient.hub)
    if found:
        total = size(sum(bytes_ for _, bytes_ in found))
        yield Finding("leftovers", {"count": len(found), "size": total}, wrong=False, repair="leftovers")
