"""Who asked which run to stop: rows beside the runs, so that neither a run's folder nor who cleans it up has a say in it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import BadInput, DiskFull, SvdUiError

log = logging.getLogger(__name__)
FILE = "stops.sqlite3"
WAIT_SECONDS = 5.0


class Stops:
    """Of the runs in ``folder``. Safe from any process; every call opens the file anew, which takes a fraction of a millisecond."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def ask(self, run: str) -> None:
        """Raises DiskFull, or BadInput where it cannot be written down."""
        with self._rows() as rows:
            rows.execute("INSERT OR REPLACE INTO stops (run, asked) VALUES (?, ?)", (run, time.time()))

    def asked(self, run: str) -> bool:
        """False too where nobody can tell: a run must not end because of that."""
        if not self._path.exists():
            return False
        try:
            with self._rows() as rows:
                return rows.execute("SELECT 1 FROM stops WHERE run = ?", (run,)).fetchone() is not None
        except (sqlite3.Error, SvdUiError) as error:
            log.warning("cannot look whether %s is to stop: %s", run, error)
            return False

    def forget(self, run: str) -> None:
        """Raises DiskFull."""
        if self._path.exists():
            with self._rows() as rows:
                rows.execute("DELETE FROM stops WHERE run = ?", (run,))

    @contextmanager
    def _rows(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._open()) as rows, rows:
                yield rows
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull() from error
            raise BadInput(f"The wish to stop cannot be written into {self._path.name}: {error}.", "name") from error

    def _open(self) -> sqlite3.Connection:
        """A file that is no database any more is begun anew: all it could tell is what somebody wanted lately."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for anew in (False, True):
            rows = sqlite3.connect(self._path, timeout=WAIT_SECONDS)
            try:
                rows.execute("CREATE TABLE IF NOT EXISTS stops (run TEXT PRIMARY KEY, asked REAL NOT NULL)")
                return rows
            except sqlite3.OperationalError:
                rows.close()
                raise
            except sqlite3.DatabaseError as error:
                rows.close()
                if anew:
                    raise
                log.warning("%s was damaged: %s", self._path.name, error)
                self._path.unlink(missing_ok=True)
        raise AssertionError
