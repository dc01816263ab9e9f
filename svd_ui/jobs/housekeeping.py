"""What is done beside the work: expired leases, deleted jobs whose hour is over, pictures without a job, last words."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..assets import Assets
from ..settings import Settings
from .leases import Lease
from .rows import read_request, read_result
from .store import Store

log = logging.getLogger(__name__)
UNDELETE_SECONDS = 3600.0
PURGE_EVERY = 60.0
ORPHAN_SECONDS = 24 * 3600.0
SWEEP_EVERY = 3600.0
RESERVE_NEEDS = 64_000_000


class Housekeeping:
    """Called with every beat of the lease; each part may fail and is tried again with a later one."""

    def __init__(self, settings: Settings, store: Store, lease: Lease) -> None:
        self._settings, self._store, self._lease = settings, store, lease
        self._unsaved: deque[Callable[[], None]] = deque()
        self._next_purge = self._next_sweep = 0.0

    def __call__(self) -> None:
        self.save()
        self.reap()
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_EVERY
            self.purge(time.time() - UNDELETE_SECONDS)
            if shutil.disk_usage(self._settings.data_dir).free > RESERVE_NEEDS:
                self._store.database.keep_reserve()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_EVERY
            self.sweep(time.time() - ORPHAN_SECONDS)

    def later(self, write: Callable[[], None]) -> None:
        """Keep a write that failed, to be tried with the next beats."""
        self._unsaved.append(write)

    def save(self) -> None:
        while self._unsaved:
            self._unsaved[0]()
            self._unsaved.popleft()

    def reap(self) -> None:
        """Jobs of processes that are gone become interrupted."""
        expired = self._lease.expired()
        left = [*expired, *self._store.without_process()]
        if left:
            count = self._store.interrupt(left)
            self._lease.forget(expired)
            if count:
                log.warning("%d unfinished jobs of a process that is gone were marked as interrupted", count)

    def purge(self, before: float) -> None:
        """Remove the rows and files of jobs deleted before this time, and pictures nobody else uses."""
        refs: set[str] = set()
        for row in self._store.deleted_before(before):
            if self._store.purge(row["id"]):
                refs |= _pictures(row)
                shutil.rmtree(self._settings.jobs_dir / row["id"], ignore_errors=True)
        if refs:
            self._remove_pictures([found for found in self._assets.last_used(0.0, before) if found[0] in refs], before)

    def sweep(self, before: float) -> None:
        """Remove pictures last used before this time that never became a job: whoever may upload could fill the disk.

        What is older than this history may belong to another one that was put aside, and stays.
        """
        since = self._store.first_created()
        if since is not None:
            self._remove_pictures(list(self._assets.last_used(since - UNDELETE_SECONDS, before)), before)

    def _remove_pictures(self, found: list[tuple[str, Path]], before: float) -> None:
        """Unless a job names one, or it came into use meanwhile: it may be on somebody's page."""
        named = self._store.pictures() if found else set()
        for ref, path in found:
            with contextlib.suppress(OSError):
                if ref not in named and path.stat().st_mtime < before:
                    path.unlink()

    @property
    def _assets(self) -> Assets:
        return Assets.of(self._settings)


def _pictures(row: sqlite3.Row) -> set[str]:
    request, _ = read_request(row["request"], row["schema"])
    result = read_result(row["result"], row["schema"])
    refs = {request.image}
    if result is not None:
        refs |= {result.image, result.last_frame, result.request.image}
    return {ref for ref in refs if ref is not None}
