"""Files that nothing will ever ask for again: of writers that were killed, of uploads long taken over, of broken downloads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..hub import Hub, layout
from ..settings import Settings

HOUR, DAY = 3600.0, 86_400.0
UNFINISHED = ("*.tmp", "*.part")
"""With a dot before it, the name of what is being written; ``media.atomic`` and training give it."""


def leftovers(settings: Settings, hub: Hub) -> list[tuple[Path, int]]:
    """(path, bytes) of each. What may still be in use is not among them: a writer's file is never an hour old."""
    now = time.time()
    aged = [
        *((path, HOUR) for path in _unfinished(settings)),
        *((path, 2 * DAY) for path in _files(settings.data_dir / "uploads")),
        *_downloads(hub),
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
