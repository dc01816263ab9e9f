"""Where the rows are: what every database here can do.

SQL is written once, as SQLite understands it and PostgreSQL nearly does; ``postgres`` translates the rest. Parameters are
``?`` or ``:name``, rows are read by the names of their columns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..errors import HistoryUnreachable, SvdUiError

SCHEMA = Path(__file__).parent / "schema"
MIGRATIONS = tuple(path.read_text("utf-8") for path in sorted(SCHEMA.glob("*.sql")))
"""One file per release of the schema, in SQLite's words; a database knows how many were applied. Statements only add tables,
indices, or columns that have defaults; a database of a newer release is refused all the same, since its rows may mean
something else.
"""
Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """A row by the names of its columns."""

    def __getitem__(self, key: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


class Answer(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Transaction(Protocol):
    def execute(self, sql: str, parameters: Parameters = (), /) -> Answer: ...

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> object: ...


class Database(Protocol):
    """Opened, and created or migrated, at once; safe to use from any thread. Every call raises HistoryUnusable or DiskFull.

    ``name`` says where it is, without secrets. Files of jobs lie in ``folder``.

    ``for_update`` ends a SELECT of rows that are then changed, and ``skip_locked`` one of a row that nobody else is about to
    change. ``clock`` is the time in seconds, as SQL, by a clock that all who share the database go by. ``changes`` counts what
    this process wrote, but for what was ``quiet``.
    """

    name: str
    folder: Path
    for_update: str
    skip_locked: str
    clock: str
    changes: int

    def read(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of a query."""
        ...

    def write(self, alone: bool = True, *, quiet: bool = False) -> AbstractContextManager[Transaction]:
        """A transaction, rolled back on any error. No other that is ``alone`` interleaves it. ``quiet``: how far something came,
        which changes nobody's place.

        Not alone: what a statement depends on stands in that statement, or was read ``for_update``.
        """
        ...

    def close(self) -> None: ...

    def keep_reserve(self) -> None:
        """Hold back a little disk space, so that the end of a job can be recorded on a full disk."""
        ...

    def free_reserve(self) -> None: ...


def warn(log: logging.Logger, what: str, error: SvdUiError) -> None:
    """Log what could not be done. That a database does not answer, it says itself, once."""
    if not isinstance(error, HistoryUnreachable):
        log.warning("%s: %s", what, error)
