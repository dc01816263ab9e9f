"""One clip at a time per device, whichever process asks: a lock file in the data folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import Cancelled
from ..settings import Settings
from . import CancelToken, never


def lock_path(settings: Settings, device: str | None = None) -> Path:
    """The lock file of ``device``, an id as it reports it (None: what the settings name)."""
    name = re.sub(r"\W+", "-", device or settings.devices)
    return settings.data_dir / "locks" / f"{name}.lock"


@contextmanager
def device_lock(settings: Settings, device: str | None = None, cancel: CancelToken | None = None) -> Iterator[None]:
    """Wait for the device, hold it, give it back; the system gives it back if the process dies.

    Re-entrant within a process, so a caller may hold it around an engine that takes it too. Raises
    ``Cancelled`` when ``cancel`` is set while waiting.
    """
    path, cancel = lock_path(settings, device), cancel or never()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False, is_singleton=True)
    while True:
        if cancel.is_set():
            raise Cancelled()
        try:
            lock.acquire(timeout=0.1)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()
