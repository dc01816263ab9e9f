"""What is done beside the work: leases that ran out, deleted jobs whose hour is over, last words to write again."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Callable

from ..assets import Assets
from ..errors import SvdUiError
from ..settings import Settings
from .leases import Lease
from .rows import read_request, read_result
from .store import Store

log = logging.getLogger(__name__)
UNDELETE_SECONDS = 3600.0
PURGE_EVERY = 60.0
RESERVE_NEEDS = 64_000_000


class Housekeeping:
    """Called with every beat of the lease; each part may fail and is tried again with a later one."""

    def __init__(self, settings: Settings, store: Store, lease: Lease) -> None:
        self._settings, self._store, self._lease = settings, store, lease
        self._unsaved: deque[Callable[[], None]] = deque()
        self._next_purge = 0.0

    def __call__(self) -> None:
        self.save()
        self.reap()
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_EVERY
            self.purge(time.time() - UNDELETE_SECONDS)
            if shutil.disk_usage(self._settings.data_dir).free > RESERVE_NEEDS:
                self._store.database.keep_reserve()

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
        for row in self._store.deleted_before(before):
            refs = _pictures(row)
            if not self._store.purge(row["id"]):
                continue
            shutil.rmtree(self._settings.jobs_dir / row["id"], ignore_errors=True)
            for ref in refs:
                self._remove_picture(ref, before)

    def _remove_picture(self, ref: str, before: float) -> None:
        """Unless another job names it, or it was added lately and may be on somebody's page."""
        try:
            path = Assets.of(self._settings).path(ref)
            if not self._store.mentions(ref) and path.stat().st_mtime < before:
                path.unlink()
        except (SvdUiError, OSError):
            return


def _pictures(row: sqlite3.Row) -> set[str]:
    request, _ = read_request(row["request"], row["schema"])
    result = read_result(row["result"], row["schema"])
    refs = {request.image}
    if result is not None:
        refs |= {result.image, result.last_frame, result.request.image}
    return {ref for ref in refs if ref is not None}
