"""A backup comes back: checked name by name and byte by byte, then moved into place as a whole.

It may be damaged, cut off, or made to do harm. Nothing but plain files of known places is taken; nothing is moved before all sums
are right; what was in the folder is put aside, never deleted.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import BadInput, HistoryNewer, SvdUiError
from ..media import disk_full
from ..settings import Settings
from .backup import FORMAT, HISTORY, MANIFEST, NAME, SINGLE, SUMS, UNDECODED, Summed, Told, schema_of, zstd
from .database import MIGRATIONS
from .leases import live
from .sqlite import SqliteDatabase

MAX_FILES = 5_000_000
MAX_MANIFEST, MAX_SUMS, MAX_HEADER = 64_000, 2_000_000_000, 64_000
ROOM = 64_000_000
"""Bytes that stay free on the disk."""
CHUNK = 1 << 20
UNFIT = {"win32": r'[<>:"|?*\\\ud800-\udfff]|[. ]+$', "darwin": r"[\ud800-\udfff]"}
"""What no file's name may have, on some systems."""
DAMAGED = "This backup is damaged or cut off: {why}. Nothing was changed."


@dataclass(frozen=True)
class Restored:
    """``jobs`` of the history, None where it is in a PostgreSQL; ``aside`` is where lies what was there before."""

    made: float
    jobs: int | None
    files: int
    bytes: int
    aside: Path | None = None


class _Bounded(tarfile.TarInfo):
    """tarfile reads the headers of long names whole into memory, whatever size they claim."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) and self.size > MAX_HEADER:
            raise BadInput(DAMAGED.format(why="it has a header that is too large"))
        return super()._proc_member(tar)  # type: ignore[misc]


def restore(
    settings: Settings,
    path: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    told: Told = lambda done, total: None,
) -> Restored:
    """Bring the backup at ``path`` into ``settings.data_dir``; with ``dry_run`` only check it.

    Raises BadInput for a folder that is in use, or not empty without ``force``, and for what is no whole backup; HistoryNewer.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    into = settings.data_dir
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="svd-ui-") as folder:
            return _unpack(path, Path(folder), told, keep={HISTORY})
    _refuse_in_use(settings)
    if not force and into.is_dir() and any(into.iterdir()):
        raise BadInput(
            f"{into} is not empty: name another folder (--into), or say --force, which puts aside what is there."
        )
    staging = into / f".restoring-{secrets.token_hex(6)}"
    try:
        with disk_full():
            staging.mkdir(parents=True)
            done = _unpack(path, staging, told)
            aside = _put_aside(into, {found.name for found in staging.iterdir()})
            for found in staging.iterdir():
                found.rename(into / found.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Restored(done.made, done.jobs, done.files, done.bytes, aside)


def _refuse_in_use(settings: Settings) -> None:
    if settings.is_shared or not (settings.data_dir / HISTORY).is_file():
        return
    try:
        with closing(SqliteDatabase(settings.data_dir / HISTORY)) as database:
            used = live(database) or live(database, "cli")
    except SvdUiError:  # damaged: nobody works with it
        return
    if used:
        raise BadInput(f"The app is running on {settings.data_dir}: stop it first.")


def _put_aside(into: Path, names: set[str]) -> Path | None:
    """Move what is in the way, with what SQLite keeps beside a history; where to."""
    names |= {HISTORY + ending for ending in ("-wal", "-shm")} if HISTORY in names else set()
    there = [into / name for name in sorted(names) if (into / name).exists()]
    if not there:
        return None
    aside = into / f"before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir()
    for path in there:
        path.rename(aside / path.name)
    return aside


def _unpack(path: Path, target: Path, told: Told, keep: set[str] | None = None) -> Restored:
    """Check everything, and write it below ``target``, or of it only the names in ``keep``."""
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Bounded) as tar:
            about, sums, listed = _read(tar, target, told, keep)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(DAMAGED.format(why=str(error)[:100] or "it cannot be read")) from error
    except OSError as error:
        if error.errno is None:
            raise BadInput(DAMAGED.format(why=str(error)[:100])) from error
        raise
    if listed is None:
        raise BadInput(DAMAGED.format(why="its list of sums is missing"))
    if listed != {name: digest for name, (digest, _) in sums.items()}:
        wrong = sorted(name for name in listed.keys() | sums.keys() if listed.get(name) != sums.get(name, ("", 0))[0])
        raise BadInput(DAMAGED.format(why=f"{wrong[0]} is not what was kept"))
    rows = about["rows"] == "sqlite"
    if rows and HISTORY not in sums:
        raise BadInput(DAMAGED.format(why="it has no history"))
    jobs = _check_history(target / HISTORY, path) if rows else None
    sizes = [size for name, (_, size) in sums.items() if name != MANIFEST]
    return Restored(float(about["made"]), jobs, len(sizes), sum(sizes))


Sums = dict[str, tuple[str, int]]
"""Name => (digest, bytes)."""


def _read(
    tar: tarfile.TarFile, target: Path, told: Told, keep: set[str] | None
) -> tuple[dict[str, Any], Sums, dict[str, str] | None]:
    """(what it says it is, sums of what came, sums that it lists)."""
    about: dict[str, Any] | None = None
    sums: Sums = {}
    done, total = 0, 0
    for info in tar:
        name = info.name
        if not info.isreg() or info.issparse() or info.size < 0:
            raise BadInput(f"This backup holds {name[:80]!r}, which is no plain file. Nothing was changed.")
        file = tar.extractfile(info)
        assert file is not None, "a plain file has content"
        if about is None:
            about = _manifest(name, info.size, file, sums)
            total = int(about["bytes"])
            continue
        if name == SUMS:
            if info.size > MAX_SUMS:
                raise BadInput(DAMAGED.format(why="its list of sums is too large"))
            listed = _listed(file.read())
            if tar.next() is not None:
                raise BadInput(DAMAGED.format(why="something follows its list of sums"))
            return about, sums, listed
        if not NAME.fullmatch(name) or name in sums:
            raise BadInput(f"This backup holds {name[:80]!r}, which belongs to none. Nothing was changed.")
        if len(sums) > MAX_FILES:
            raise BadInput(DAMAGED.format(why="it has too many files"))
        to = place(target, name) if keep is None or name in keep else None
        sums[name] = (_copy(file, info.size, to, target), info.size)
        done += info.size
        told(done, max(total, done))
    if about is None:
        raise BadInput("This is no backup of this app.")
    return about, sums, None


def _manifest(name: str, size: int, file: IO[bytes], sums: Sums) -> dict[str, Any]:
    """Raises BadInput for what is no backup of ours, or of a release that comes after this one."""
    if name != MANIFEST or size > MAX_MANIFEST:
        raise BadInput("This is no backup of this app.")
    reader = Summed(file)
    about: dict[str, Any] = json.loads(reader.read())
    if int(about["format"]) > FORMAT:
        raise BadInput("This backup was made by a newer release: update the app, then try again. Nothing was changed.")
    if int(about["schema"] or 0) > len(MIGRATIONS):
        raise HistoryNewer(path=HISTORY)
    sums[name] = (reader.digest, size)
    return about


def _listed(data: bytes) -> dict[str, str]:
    lines = data.decode(errors=UNDECODED).removesuffix("\n").split("\n")  # other ends of lines may be in a name
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def place(target: Path, name: str, system: str = sys.platform) -> Path:
    """Where a name goes: below ``target``, as it was unless this system cannot have it, beside what is there already.

    Two names that differ in letters' case are one file on some systems.
    """
    parts = [re.sub(UNFIT[system], "_", part) for part in name.split("/")] if system in UNFIT else name.split("/")
    path, count = target.joinpath(*parts), 1
    while path.is_file():
        count += 1
        path = path.with_name(f"{Path(parts[-1]).stem}~{count}{path.suffix}")
    return path


def _copy(file: IO[bytes], size: int, to: Path | None, place: Path) -> str:
    """Write a file, if it is to be written, and return its sum. Raises BadInput where there is no room."""
    reader = Summed(file)
    if to is None:
        while reader.read(CHUNK):
            pass
        return reader.digest
    if shutil.disk_usage(place).free < size + ROOM:
        raise BadInput(f"There is not enough room at {place.parent}. Nothing was changed.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as target:
            if to.name in SINGLE:
                to.chmod(0o600)
            while data := reader.read(CHUNK):
                target.write(data)
    except (FileExistsError, NotADirectoryError) as error:
        raise BadInput(DAMAGED.format(why=f"{to.name} is a file and a folder")) from error
    return reader.digest


def _check_history(history: Path, path: Path) -> int:
    """How many jobs it has. Raises BadInput for a damaged one, or one with more than tables; HistoryNewer."""
    try:
        if schema_of(history) > len(MIGRATIONS):
            raise HistoryNewer(path=str(path))
        with closing(sqlite3.connect(history)) as sql:
            sql.execute("PRAGMA trusted_schema = OFF")
            if sql.execute("SELECT COUNT(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone()[0]:
                raise BadInput("The history in this backup holds more than tables. Nothing was changed.")
            found = sql.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise BadInput(DAMAGED.format(why=f"its history: {found}"))
            return int(sql.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])
    except sqlite3.Error as error:
        raise BadInput(DAMAGED.format(why=f"its history: {error}")) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The tar in a file, however it is packed: by its first bytes, not by its name."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(file) as stream:
                yield stream  # type: ignore[misc]
            return
        if magic != b"\x28\xb5\x2f\xfd":
            yield file
            return
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # the program reads where the descriptor stands
        unpacking = subprocess.Popen(
            [zstd(), "-q", "-d", "-c"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert unpacking.stdout is not None
        try:
            with unpacking.stdout:
                yield unpacking.stdout
        finally:
            unpacking.kill()
            unpacking.wait()
