"""How long clips are kept: what is older than so many days, or more than so many GB, is deleted, oldest first.

Never what has not ended, and nothing that ended within the hour. The default keeps all for ever.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import BadInput
from ..settings import Settings
from .store import Store

DAY = 86_400.0
YOUNG_SECONDS = 3600.0
UNITS = {"h": 3600.0, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
SIZES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class Rule:
    """What may stay: ``seconds`` since it ended, ``bytes`` of all clips together; None is no limit."""

    seconds: float | None = None
    bytes: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """``SVD_UI_KEEP_DAYS`` and ``SVD_UI_KEEP_GB``."""
        days, gigabytes = settings.keep_days, settings.keep_gb
        return cls(days * DAY if days else None, gigabytes * 1e9 if gigabytes else None)

    @property
    def keeps_all(self) -> bool:
        return self.seconds is None and self.bytes is None


@dataclass(frozen=True)
class Surplus:
    """What a rule leaves no room for, oldest first; times are when the oldest and the newest of it ended."""

    ids: tuple[str, ...] = ()
    bytes: int = 0
    oldest: float | None = None
    newest: float | None = None


def surplus(store: Store, folder: Path, rule: Rule, now: float) -> Surplus:
    """What has to go, and its size in ``folder``, where each job has a folder of its own."""
    if rule.keeps_all:
        return Surplus()
    sizes = dict(_sizes(folder))
    rows = [(str(row["id"]), float(row["ended"])) for row in store.ended()]
    total = sum(sizes.get(id, 0) for id, _ in rows) + sum(sizes.get(id, 0) for id in store.unended())
    gone: list[tuple[str, float]] = []
    for id, ended in rows:
        old = rule.seconds is not None and ended < now - rule.seconds
        much = rule.bytes is not None and total > rule.bytes
        if ended < now - YOUNG_SECONDS and (old or much):
            gone.append((id, ended))
            total -= sizes.get(id, 0)
    if not gone:
        return Surplus()
    return Surplus(tuple(id for id, _ in gone), sum(sizes.get(id, 0) for id, _ in gone), gone[0][1], gone[-1][1])


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """(job, bytes) of each job's folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield entry.name, _size(entry.path)


def _size(folder: str) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def seconds_of(text: str) -> float:
    """``30d`` -> seconds; hours, days, weeks and years. Raises BadInput."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdwy])\s*", text, re.IGNORECASE)
    if found is None:
        raise BadInput(f"{text} is no time: write 12h, 30d, 8w or 1y.", field="older_than")
    return float(found[1]) * UNITS[found[2].lower()]


def bytes_of(text: str) -> float:
    """``50GB`` -> bytes. Raises BadInput."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MGT]B)\s*", text, re.IGNORECASE)
    if found is None:
        raise BadInput(f"{text} is no size: write 500MB, 50GB or 2TB.", field="larger_than")
    return float(found[1]) * SIZES[found[2].upper()]


def when(seconds: float) -> str:
    """A day and time of the local clock."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
