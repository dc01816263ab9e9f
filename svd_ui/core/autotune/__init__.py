"""Choices that are benchmarked once on a device and remembered: kernels, number formats, threads.

The results lie in one small JSON file between starts. It is a memory of timings, never of truth: lose it, damage it or
copy it to another machine and everything is benchmarked again, because a key names the device and torch's version.
"""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import DiskFull
from ...media import write_bytes

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 2.0
"""Seconds to wait for another process that writes; after that a timing is only lost, and measured again."""


def key(device: str, what: str, shape: str = "") -> str:
    """The name of a benchmark of ``what`` (and ``shape``) on the device of that name, under this torch."""
    return " | ".join(part for part in (device, f"torch {version('torch')}", what, shape) if part)


class BenchmarkStore:
    """A mapping of ``key(...)`` to JSON values. ``path`` None keeps it in memory only.

    A missing or damaged file is empty. Every ``put`` reads the file again and replaces it as a whole, one process
    at a time, so workers of several devices can share it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values = self._read()

    def get(self, key: str) -> Any:
        """The value, or None where nothing was measured. What another process wrote meanwhile counts too."""
        if key not in self._values:
            self._values = self._read() | self._values
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep ``value``; a disk that takes no more loses it with a line in the log, nothing else."""
        self._values[key] = value
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=LOCK_TIMEOUT):
                self._values = self._read() | {key: value}
                write_bytes(self._path, json.dumps(self._values, indent=1, sort_keys=True).encode())
        except (OSError, Timeout, DiskFull) as error:
            log.warning("%s was measured but could not be kept: %s", key, error)

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            values = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}
