"""The default database, an SQLite file: opening, migrating, transactions, and foreign errors turned into ours.

One connection of a process writes under a lock, a few only read, so that looking at a job never waits for a writer (WAL). All
are safe to use from any thread and are closed by ``close``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from ..errors import DiskFull, HistoryGone, HistoryNewer, HistoryUnusable, SvdUiError
from .database import MIGRATIONS, Parameters, Row

BUSY_SECONDS = 10.0
RESERVE_BYTES = 256 * 1024
READERS = 4
"""Connections that read at once: a page that many look at has that many threads for plain questions."""


class SqliteDatabase:
    """A ``Database`` of one file, for the processes of one machine. A transaction is alone in any case."""

    for_update = skip_locked = ""
    clock = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.folder = path, str(path), path.parent
        self._lock = threading.RLock()
        self._turns = threading.BoundedSemaphore(READERS)
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        """Those that nobody reads with at the moment."""
        self._closed, self.changes = False, 0
        self._identity: tuple[int, int] | None = None
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():  # SQLite would wait for a pipe, say
                raise HistoryUnusable(path=str(path), detail="it is no file")
            try:
                self._writer = self._connect()
                self._check(self._writer)
                self._identity = _identity(path)
                self._migrate(self._writer)
                self._check_tables(self._writer)
                # All at once: one opened later would make a new file where somebody moved this one away.
                self._readers.extend(self._reader() for _ in range(READERS))
            except BaseException:
                self.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Reads the whole file, so once per opening."""
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            detail = " ".join(found.replace("*** in database main ***", "").split())
            raise HistoryUnusable(path=str(self.path), detail=f"damaged: {detail}")

    def _check_tables(self, connection: sqlite3.Connection) -> None:
        """A sound file may still be another program's, or one that somebody worked in."""
        for table, columns in _schema().items():
            missing = columns - _columns(connection, table)
            if missing:
                detail = f"its table {table} lacks {', '.join(sorted(missing)[:3])}"
                raise HistoryUnusable(path=str(self.path), detail=detail)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")  # both as of one moment: another process may be making the tables
        try:
            version, tables = _version(connection), _tables(connection)
        finally:
            connection.execute("ROLLBACK")
        if version > len(MIGRATIONS):
            raise HistoryNewer(path=str(self.path))
        if version < 0 or (version == 0 and tables):
            raise HistoryUnusable(path=str(self.path), detail="it is another program's")
        if version == len(MIGRATIONS):
            return
        with self.write() as transaction:
            # Read again under the lock: another process may have just done it.
            for number in range(_version(transaction), len(MIGRATIONS)):
                for statement in MIGRATIONS[number].split(";"):
                    transaction.execute(statement)
                transaction.execute(f"PRAGMA user_version = {number + 1}")

    @contextlib.contextmanager
    def write(self, alone: bool = True, *, quiet: bool = False) -> Iterator[sqlite3.Connection]:
        with self._mapped(), self._lock:
            connection = self._open(self._writer)
            if _identity(self.path) != self._identity:  # SQLite would go on in a file that nobody finds again
                raise HistoryGone(path=str(self.path))
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                self.changes += not quiet
            except BaseException:
                if connection.in_transaction:  # SQLite has already rolled back after some errors
                    connection.execute("ROLLBACK")
                raise

    def read(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Never waits for a writer."""
        with self._mapped(), self._turns:
            if self._closed:
                self._open(None)
            reader = self._readers.pop()
            try:
                return reader.execute(sql, parameters).fetchall()
            finally:
                self._readers.append(reader)

    def close(self) -> None:
        with self._lock, ExitStack() as nobody_reads:
            self._closed = True
            for _ in range(READERS):
                nobody_reads.enter_context(self._turns)
            for connection in (*self._readers, self._writer):
                if connection is not None:
                    connection.close()
            self._readers.clear()
            self._writer = None

    def keep_reserve(self) -> None:
        reserve = self._reserve
        with contextlib.suppress(OSError):
            if not reserve.is_file() or reserve.stat().st_size < RESERVE_BYTES:
                reserve.write_bytes(os.urandom(RESERVE_BYTES))

    def free_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    @property
    def _reserve(self) -> Path:
        return self.path.with_name(self.path.name + ".reserve")

    def _open(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise HistoryUnusable(path=str(self.path), detail="it was closed")
        return connection

    def _has_no_room(self, error: sqlite3.Error) -> bool:
        """Whether the disk is full, which SQLite tells in other words where it maps memory."""
        with contextlib.suppress(OSError):
            return _code(error) in NEEDS_ROOM and shutil.disk_usage(self.path.parent).free < RESERVE_BYTES
        return False

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except SvdUiError:
            raise
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_FULL or self._has_no_room(error):
                raise DiskFull() from error
            detail = SAID.get(_code(error), str(error))
            raise HistoryUnusable(path=str(self.path), detail=detail) from error


NEEDS_ROOM = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
SAID = {
    sqlite3.SQLITE_BUSY: "another program holds it: close that one",
    sqlite3.SQLITE_LOCKED: "another program holds it: close that one",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOTADB: "it is no history",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_IOERR: "the disk neither reads nor writes it",
}
"""SQLite's codes in words."""


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@cache
def _schema() -> dict[str, frozenset[str]]:
    """Table => its columns, once everything is migrated."""
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        for migration in MIGRATIONS:
            fresh.executescript(migration)
        return {table: _columns(fresh, table) for table in _tables(fresh)}


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [row[0] for row in found]


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)))


def _code(error: sqlite3.Error) -> int:
    """SQLite's result code, without the byte that tells more."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changing the journal mode does not honour the busy timeout, so wait here."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if _code(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or time.monotonic() > end:
                raise
            time.sleep(0.05)
