"""The whole queue and history from one database into another: from the SQLite file into PostgreSQL, or back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..settings import Settings
from .database import Database, Row, Transaction
from .leases import live
from .postgres import PostgresDatabase
from .postgres_schema import MARK, Opening
from .sqlite import SqliteDatabase

TABLES = {"jobs": "number", "timings": "key", "queue_state": "name"}
"""What is copied, and by which column in order; leases of processes are not."""
AT_ONCE = 500
KINDS = {"TEXT": str, "INTEGER": int, "REAL": (int, float)}


class Copying:
    """Between ``source`` and ``target``: ``sqlite:///file``, a file, a data folder, or ``postgresql://``.

    ``counts`` are rows by table, ``damaged`` how many of them no other database takes. Raises an SvdUiError where either
    cannot be opened, or nothing may be copied.
    """

    def __init__(self, settings: Settings, source: str, target: str) -> None:
        self._settings, self._source, self._target = settings, source, target
        self.counts: dict[str, int] = {}
        self.damaged = 0

    def look(self) -> None:
        """Count, and change nothing."""
        with closing(self._open(self._source, "look")) as source:
            _refuse_live(source)
            with source.write() as rows:
                self._count(rows)
        if _is_postgres(self._target) or _file(self._target).exists():
            with closing(self._open(self._target, "look")) as target:
                _refuse_used(target)

    def run(self) -> None:
        """Copy everything, or nothing: in one transaction."""
        with closing(self._open(self._source, "open")) as source:
            _refuse_live(source)
            with closing(self._open(self._target, "open", there=False)) as target:
                if source.name == target.name:
                    raise BadInput("Source and target are the same database.")
                _refuse_used(target)
                with source.write() as rows, target.write() as into:
                    self._count(rows)
                    for table, key in TABLES.items():
                        self._copy(rows, into, table, key, _kinds(source, table))
                    if isinstance(target, PostgresDatabase):
                        into.execute(
                            "SELECT setval(pg_get_serial_sequence('jobs', 'number'), COALESCE(MAX(number), 1)) FROM jobs"
                        )

    def _open(self, place: str, how: Opening, *, there: bool = True) -> Database:
        if _is_postgres(place):
            return PostgresDatabase(place, self._settings.data_dir, how)
        path = _file(place)
        if there and not path.is_file():
            raise BadInput(f"There is no history at {path.absolute()}.")
        return SqliteDatabase(path)

    def _count(self, rows: Transaction) -> None:
        for table in TABLES:
            counted = rows.execute(f"SELECT COUNT(*) AS number FROM {table}").fetchone()
            self.counts[table] = int(counted["number"])

    def _copy(self, rows: Transaction, into: Transaction, table: str, key: str, kinds: dict[str, Any]) -> None:
        for found in _pages(rows, table, key):
            sound = [row for row in found if _is_sound(row, kinds)]
            self.damaged += len(found) - len(sound)
            kept = [row for row in sound if table != "queue_state" or row["name"] != MARK]  # the target has its own
            if kept:
                names = list(kept[0].keys())
                statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)})"
                into.executemany(statement, [{name: row[name] for name in names} for row in kept])


def _pages(rows: Transaction, table: str, key: str) -> Iterator[list[Row]]:
    last: Any = None
    while True:
        where = "" if last is None else f"WHERE {key} > :last"
        values = {} if last is None else {"last": last}
        found = rows.execute(f"SELECT * FROM {table} {where} ORDER BY {key} LIMIT {AT_ONCE}", values).fetchall()
        if not found:
            return
        yield found
        last = found[-1][key]


def _kinds(source: Database, table: str) -> dict[str, Any]:
    """Column => what it has to hold; SQLite alone lets a damaged file hold anything."""
    if not isinstance(source, SqliteDatabase):
        return {}
    return {row["name"]: KINDS[row["type"]] for row in source.read(f"PRAGMA table_info({table})")}


def _is_sound(row: Row, kinds: dict[str, Any]) -> bool:
    return all(row[name] is None or isinstance(row[name], kind) for name, kind in kinds.items())


def _refuse_live(source: Database) -> None:
    if live(source) or live(source, "cli"):
        raise BadInput(f"A page or a command works on {source.name}: stop it first.")


def _refuse_used(target: Database) -> None:
    """Empty, or without our tables at all."""
    if isinstance(target, PostgresDatabase) and not target.has_tables():
        return
    if target.read("SELECT 1 AS found FROM jobs LIMIT 1") or target.read("SELECT 1 AS found FROM timings LIMIT 1"):
        raise BadInput(f"{target.name} is not empty: nothing was copied. Give a new database.")
    _refuse_live(target)


def _is_postgres(place: str) -> bool:
    return re.match(r"postgres(ql)?://", place) is not None


def _file(place: str) -> Path:
    """The file that is meant, as SQLAlchemy writes it, or as a path; a folder is a data folder."""
    path = Path(place.removeprefix("sqlite:///")).expanduser()
    return path / "svd_ui.sqlite3" if path.is_dir() else path
