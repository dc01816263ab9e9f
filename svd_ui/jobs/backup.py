"""A backup: one tar of the history, the clips, the pictures and the training runs, made while the app works.

    backup.json         what it is: format, release, schema of the history, when, how much
    svd_ui.sqlite3      the history as it was at one moment; first, so that all files of its finished clips are there already
    accounts.json measured.json  jobs/ assets/ training/  [models/]
    SHA256SUMS          of everything before it; a backup without it is not whole

What among jobs and pictures is not the app's (a ``.DS_Store``) is left out and told. Weights are left out unless they are asked for.
Rows in a PostgreSQL are that server's to back up (``pg_dump``).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from .. import __version__
from ..errors import BadInput, HistoryUnusable
from ..media import atomic
from ..settings import Settings

FORMAT = 1
MANIFEST, SUMS, HISTORY = "backup.json", "SHA256SUMS", "svd_ui.sqlite3"
SINGLE = ("accounts.json", "measured.json")
FOLDERS, WEIGHTS = ("jobs", "assets", "training"), "models"
_PART = r"(?!\.\.?(?:/|$))[^/\x00-\x1f]{1,255}"
NAME = re.compile(
    rf"{re.escape(HISTORY)}|{'|'.join(map(re.escape, SINGLE))}"
    rf"|jobs/[0-9a-f]{{32}}(?:/(?![^/]*[\\:]){_PART}){{1,4}}|assets/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.png"
    rf"|(?:training|{WEIGHTS})(?:/{_PART}){{1,12}}"
)
"""What may be in a backup: nothing else is written into one or taken from one. People name what is in the last two folders."""
COMPUTED = "encoded"
"""In the training folder: what was computed from clips, and will be again."""
UNDECODED = "surrogateescape"
"""Linux takes names that are no UTF-8; tarfile carries them in this way, and so do the sums."""
Told = Callable[[int, int], None]
"""(bytes done, bytes in all)."""
Found = tuple[str, Path, int]
"""(name in the backup, file, bytes)."""


@dataclass(frozen=True)
class Written:
    """``rows`` is False where the history is in a server of its own; ``jobs`` counts clips whose files are here.

    ``strange`` are names in the app's folders that are not its own: they are not in the backup.
    """

    jobs: int
    files: int
    bytes: int
    rows: bool
    strange: tuple[str, ...] = ()


def copy_of_history(settings: Settings, target: Path) -> bool:
    """The one way to the rows: a copy of the history as it is at this moment, without who is at work now.

    False, and no copy, where they are in a PostgreSQL. Raises BadInput where there is none yet, HistoryUnusable for a damaged one.
    """
    if settings.is_shared:
        return False
    source = settings.data_dir / HISTORY
    if not source.is_file():
        raise BadInput(f"There is no history in {settings.data_dir}: nothing to back up.")
    try:
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)  # in one read transaction: writers go on, and nothing of theirs is in it
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("DELETE FROM processes")
            copy.commit()
    except sqlite3.Error as error:
        raise HistoryUnusable(path=str(source), detail=str(error)) from error
    return True


def schema_of(path: Path) -> int:
    """The number of the history's schema."""
    with closing(sqlite3.connect(path)) as sql:
        return int(sql.execute("PRAGMA user_version").fetchone()[0])


def write(settings: Settings, path: Path, *, weights: bool = False, told: Told = lambda done, total: None) -> Written:
    """Put a backup at ``path``, whole or not at all. Raises BadInput, DiskFull or HistoryUnusable."""
    pack = packer(path)
    if path.is_dir() or not path.parent.is_dir():
        raise BadInput(f"{path} cannot be written: name a file in a folder that exists.")
    with tempfile.TemporaryDirectory(prefix=".svd-ui-", dir=path.parent) as aside:
        history = Path(aside) / HISTORY
        rows = copy_of_history(settings, history)
        files, strange = _ours(_files(settings, _ids(history) if rows else None, weights))
        total = sum(size for _, _, size in files) + (history.stat().st_size if rows else 0)
        about = {"format": FORMAT, "svd_ui": __version__, "schema": schema_of(history) if rows else None}
        about |= {"made": time.time(), "bytes": total, "rows": "sqlite" if rows else "postgresql", "weights": weights}
        with atomic(path) as temporary:
            temporary.touch(mode=0o600)  # pictures, and hashes of passwords
            with pack(temporary) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
                writing = _Writing(tar, lambda done: told(done, total))
                writing.add_bytes(MANIFEST, json.dumps(about).encode())
                if rows:
                    writing.add(HISTORY, history)
                for name, file, _ in files:
                    writing.add(name, file)
                writing.add_bytes(SUMS, "".join(writing.sums).encode(errors=UNDECODED))
    jobs = {name.split("/")[1] for name, _, _ in files if name.startswith("jobs/")}
    return Written(len(jobs), len(writing.sums) - 2, total, rows, strange)  # less the manifest and the sums


def _ids(history: Path) -> set[str]:
    with closing(sqlite3.connect(history)) as sql:
        return {row[0] for row in sql.execute("SELECT id FROM jobs")}


def _files(settings: Settings, ids: set[str] | None, weights: bool) -> Iterator[Found]:
    """Of jobs only those whose row is in it; None for all."""
    root = settings.data_dir
    for name in SINGLE:
        yield from _file(root, root / name)
    for top in (*FOLDERS, *([WEIGHTS] if weights else [])):
        for folder, inside, names in os.walk(root / top):
            if Path(folder) == root / "jobs" and ids is not None:
                inside[:] = [name for name in inside if name in ids]
            if Path(folder) == root / "training":
                inside[:] = [name for name in inside if name != COMPUTED]
            inside.sort()
            for name in sorted(names):
                if not (name.startswith(".") and name.endswith(".tmp")) and not name.endswith(".part"):
                    yield from _file(root, Path(folder, name))


def _ours(files: Iterable[Found]) -> tuple[list[Found], tuple[str, ...]]:
    """(what goes into the backup, names of what lies among it and is not the app's). Raises BadInput for a file of somebody's own
    that could not come back.
    """
    ours, strange = [], []
    for found in files:
        if NAME.fullmatch(found[0]):
            ours.append(found)
        elif found[0].startswith(("jobs/", "assets/")):
            strange.append(found[0])
        else:
            why = "control characters in its name, or more than 12 folders deep"
            raise BadInput(f"{found[0]!r} cannot be in a backup ({why}): rename or move it, then try again.")
    return ours, tuple(strange)


def _file(root: Path, path: Path) -> Iterator[Found]:
    if path.is_file() and not path.is_symlink():
        yield path.relative_to(root).as_posix(), path, path.stat().st_size


class _Writing:
    """Adds to ``tar`` and keeps the sums; ``told`` hears of the bytes so far."""

    def __init__(self, tar: tarfile.TarFile, told: Callable[[int], None]) -> None:
        self.sums: list[str] = []
        self._tar, self._told, self._done = tar, told, 0

    def add(self, name: str, path: Path) -> None:
        """What is gone by now was deleted meanwhile, and is left out."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            stat = os.fstat(file.fileno())
            self._put(name, file, stat.st_size, int(stat.st_mtime))

    def add_bytes(self, name: str, data: bytes) -> None:
        self._put(name, io.BytesIO(data), len(data), int(time.time()))

    def _put(self, name: str, file: IO[bytes], size: int, when: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, when, 0o600
        reader = Summed(file)
        try:
            self._tar.addfile(info, cast("IO[bytes]", reader))
        except OSError as error:
            if error.errno is None:  # tarfile's own: fewer bytes than there were
                raise BadInput(f"{name} changed while it was copied: try again.") from error
            raise
        self.sums.append(f"{reader.digest}  {name}\n")
        self._done += size
        self._told(self._done)


class Summed:
    """A stream that sums up what is read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._sum = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._sum.update(data)
        return data

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()


def packer(path: Path) -> Callable[[Path], Any]:
    """How a file of this name is packed. Raises BadInput for another ending."""
    if path.name.endswith(".tar"):
        return lambda target: target.open("wb")
    if path.name.endswith((".tar.gz", ".tgz")):
        return lambda target: gzip.open(target, "wb", compresslevel=1)  # clips are packed already
    if path.name.endswith(".tar.zst"):
        return _zstd
    raise BadInput(f"{path.name}: name it .tar, .tar.gz or .tar.zst.")


def zstd() -> str:
    """The program. Raises BadInput where it is not here."""
    found = shutil.which("zstd")
    if found is None:
        raise BadInput("The program zstd is not installed here: install it, or use a .tar or .tar.gz.")
    return found


@contextmanager
def _zstd(target: Path) -> Iterator[IO[bytes]]:
    with target.open("wb") as file:
        packing = subprocess.Popen([zstd(), "-q", "-c"], stdin=subprocess.PIPE, stdout=file)
        assert packing.stdin is not None
        try:
            with packing.stdin:
                yield packing.stdin
            if packing.wait() != 0:
                raise BadInput("zstd could not write the backup: is the disk full?")
        finally:
            packing.kill()
            packing.wait()
