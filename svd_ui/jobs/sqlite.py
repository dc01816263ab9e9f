"""The default database, an SQLite file: opening, migrating, transactions, and foreign errors turned into ours.

Two connections per process: one writes under a lock, one only reads, so that looking at a job never waits
for a writer (WAL). Both are safe to use from any thread and are closed by ``close``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFull, HistoryNewer, HistoryUnusable, SvdUiError
from .database import MIGRATIONS, Parameters, Row

BUSY_SECONDS = 10.0
RESERVE_BYTES = 256 * 1024


class SqliteDatabase:
    """A ``Database`` of one file, for the processes of one machine. A transaction is alone in any case."""

    for_update = skip_locked = ""
    clock = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.folder = path, str(path), path.parent
        self._lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._writer = self._connect()
                self._check(self._writer)
                self._migrate(self._writer)
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
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

    def _check(self, connection: sqlite3.Connection) -> None:
        """Reads the whole file, so once per opening."""
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise HistoryUnusable(path=str(self.path), detail=f"damaged: {found}")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _version(connection) > len(MIGRATIONS):
            raise HistoryNewer(path=str(self.path))
        if _version(connection) == len(MIGRATIONS):
            return
        with self.write() as transaction:
            # Read again under the lock: another process may have just done it.
            for number in range(_version(transaction), len(MIGRATIONS)):
                for statement in MIGRATIONS[number].split(";"):
                    transaction.execute(statement)
                transaction.execute(f"PRAGMA user_version = {number + 1}")

    @contextlib.contextmanager
    def write(self, alone: bool = True) -> Iterator[sqlite3.Connection]:
        with self._mapped(), self._lock:
            connection = self._open(self._writer)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has already rolled back after some errors
                    connection.execute("ROLLBACK")
                raise

    def read(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Never waits for a writer."""
        with self._mapped(), self._read_lock:
            return self._open(self._reader).execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self._lock, self._read_lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

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

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except SvdUiError:
            raise
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_FULL:
                raise DiskFull() from error
            raise HistoryUnusable(path=str(self.path), detail=str(error)) from error


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
