"""Pictures and clips as files: reading what people upload, writing what was made. Torch-free.

``atomic`` files are either whole or not there. What takes long, such as encoding frames while the next ones are
decoded, is done in order beside the caller's own work (``Background``).
"""

from __future__ import annotations

import errno
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from ..errors import DiskFull

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}) if hasattr(errno, "EDQUOT") else frozenset({errno.ENOSPC})


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block succeeds.

    When the block raises, nothing is left behind and an older file at ``path`` stays as it was. A full
    disk (or quota) becomes ``DiskFull``.
    """
    temporary = path.with_name(f".svd-ui-{secrets.token_hex(6)}.tmp")  # however long the name that it will have
    try:
        with disk_full():
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush_to_disk(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # such as on Windows, where a writer that failed may still hold the file
            temporary.unlink(missing_ok=True)


@contextmanager
def disk_full() -> Iterator[None]:
    """What a full disk, or quota, makes fail is a ``DiskFull``."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull() from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """``data`` at ``path``, atomically. Raises DiskFull."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut after the rename can leave an empty file under the final name."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


class Background:
    """Jobs run one after the other in one thread; ``do`` waits while ``waiting`` of them have not begun.

        with Background() as background:
            background.do(job)      # any number of times

    A job that fails is the last one: its error is raised by the next ``do``, or at the end of the block. When the
    block fails, jobs that have not begun never do. After the block no job runs.
    """

    def __init__(self, waiting: int = 2) -> None:
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="svd-ui-encoder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def do(self, job: Callable[[], object]) -> None:
        """Run ``job`` when those before it are done. Raises the error of one that failed."""
        self._raise()
        self._jobs.put(job)
        self._raise()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._dropped.set()
        self._jobs.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is not None or self._dropped.is_set():
                continue  # the caller may be waiting for room
            try:
                job()
            except BaseException as error:
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
