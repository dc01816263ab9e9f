"""Pictures and clips as files: reading what people upload, writing what was made. Torch-free.

``atomic`` files are either whole or not there.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DiskFull

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}) if hasattr(errno, "EDQUOT") else frozenset({errno.ENOSPC})


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block succeeds.

    When the block raises, nothing is left behind and an older file at ``path`` stays as it was. A full
    disk (or quota) becomes ``DiskFull``.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull() from error
        raise
    finally:
        with suppress(OSError):  # such as on Windows, where a writer that failed may still hold the file
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """``data`` at ``path``, atomically. Raises DiskFull."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut after the rename can leave an empty file under the final name."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
