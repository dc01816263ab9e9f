"""The queue and the history as SQL: every question and every change the service has, one function each.

The database is the queue. A row belongs to at most one process (``process``, the id of its lease) while it
runs, and every change a runner makes is conditional on still owning the row.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..asset_ref import REF
from ..errors import HistoryUnreachable, NotFound, QueueFull
from ..request import SCHEMA_VERSION, GenerationRequest
from ..settings import Settings
from . import JobKind
from .database import Database, Row
from .queue import DOWNLOADS, FAIR_QUEUE, NOT_ENDED, OF_KINDS, PAUSED, RUNNING, SAME_RUN, Queue
from .sqlite import SqliteDatabase

NEXT = f"""
    SELECT jobs.number FROM jobs JOIN ({FAIR_QUEUE}) AS fair ON fair.number = jobs.number
    WHERE jobs.state = 'queued' AND (CAST(:owner AS TEXT) IS NULL OR jobs.owner = :owner)
    AND jobs.id NOT IN (SELECT value FROM json_each(:but)) ORDER BY fair.position LIMIT 1
"""
TAKE = "UPDATE jobs SET state = 'loading', process = ?, started = ?, phase_started = ?, updated = ? WHERE number = ?"
GIVE_BACK = """
    UPDATE jobs SET state = 'queued', process = NULL, started = NULL, phase_started = NULL
    WHERE number = ? AND process = ? AND started = ? AND state = 'loading'
"""


def open_database(settings: Settings) -> Database:
    """The PostgreSQL that the settings name, else the file in the data folder. Raises HistoryUnusable."""
    if settings.is_shared:
        from .postgres import PostgresDatabase

        return PostgresDatabase(settings.database.get_secret_value(), settings.data_dir)
    return SqliteDatabase(settings.history_file)


class Store:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.waitlist = Queue(database)
        self.unsure: list[tuple[int, float]] = []
        """(number, when) of claims whose answer was lost: they may have been made, and nobody here runs those rows."""

    def add(
        self,
        id: str,
        owner: str,
        kind: JobKind,
        request: GenerationRequest,
        *,
        name: str = "",
        batch: str = "",
        timing_key: str = "",
        steps: int = 0,
        process: str | None = None,
        inline: bool = False,
        max_queue: int | None = None,
    ) -> None:
        """A new row: queued, or running at once in ``process``. Raises QueueFull.

        ``inline``: somebody waits for it at a command line; no other process may go on with it.
        """
        now = time.time()
        state, started = ("queued", None) if process is None else ("loading", now)
        values: dict[str, Any] = {"id": id, "owner": owner, "kind": kind, "state": state, "process": process}
        values |= {"schema": SCHEMA_VERSION, "request": request.model_dump_json()}
        values |= {"name": name, "batch": batch, "timing_key": timing_key, "steps": steps, "inline": int(inline)}
        values |= {"created": now, "updated": now, "started": started, "phase_started": started}
        with self.database.write() as sql:
            if max_queue is not None:
                waiting = sql.execute("SELECT COUNT(*) AS number FROM jobs WHERE state = 'queued'").fetchone()["number"]
                if waiting >= max_queue:
                    raise QueueFull()
            sql.execute(f"INSERT INTO jobs ({', '.join(values)}) VALUES (:{', :'.join(values)})", values)

    def row(self, id: str, *, deleted: bool = False) -> Row:
        """The row, also if it was deleted when ``deleted``. Raises NotFound."""
        rows = self.database.read("SELECT * FROM jobs WHERE id = ?", (id,))
        if not rows or (rows[0]["deleted"] is not None and not deleted):
            raise NotFound(what="job")
        return rows[0]

    def queue(self, kinds: Iterable[str]) -> list[Row]:
        """Waiting rows in the order they will be taken, with ``position``."""
        return self.waitlist.waiting(kinds)

    def running(self, kinds: Iterable[str]) -> list[Row]:
        return self._read(f"SELECT * FROM jobs WHERE {RUNNING} AND {OF_KINDS}", kinds)

    def waiting(self, kinds: Iterable[str]) -> int:
        """How many rows of ``kinds`` wait, everybody's."""
        counted = self._read(f"SELECT COUNT(*) AS number FROM jobs WHERE state = 'queued' AND {OF_KINDS}", kinds)
        return int(counted[0]["number"])

    def unfinished(self, owner: str | None = None, ids: Iterable[str] | None = None) -> int:
        """How many clips and stills have not ended: of ``owner``, of ``ids``, everybody's without either."""
        where, values = [NOT_ENDED, "kind != 'download'"], list[str]()
        if owner is not None:
            where.append("owner = ?")
            values.append(owner)
        if ids is not None:
            where.append("id IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(ids)))
        found = self.database.read(f"SELECT COUNT(*) AS number FROM jobs WHERE {' AND '.join(where)}", values)
        return int(found[0]["number"])

    def counted(self) -> dict[tuple[str, str], int]:
        """(kind, state) => how many rows, deleted ones too."""
        rows = self.database.read("SELECT kind, state, COUNT(*) AS number FROM jobs GROUP BY kind, state")
        return {(row["kind"], row["state"]): int(row["number"]) for row in rows}

    def _read(self, sql: str, kinds: Iterable[str]) -> list[Row]:
        return self.database.read(sql, {"kinds": json.dumps(list(kinds))})

    def active_download(self, checkpoint: str) -> str | None:
        """The id of a download of ``checkpoint`` that has not ended."""
        rows = self.database.read(
            f"SELECT id FROM jobs WHERE kind = 'download' AND {NOT_ENDED} AND timing_key = ?", (checkpoint,)
        )
        return str(rows[0]["id"]) if rows else None

    def claim(
        self, process: str, kinds: Iterable[str], owner: str | None = None, but: Iterable[str] = ()
    ) -> Row | None:
        """Take the next waiting row for ``process``, of ``owner`` where one is named, or None; none but downloads while the queue
        is paused. ``but`` are ids that somebody else is to take.

        Pages that claim at once take different rows: what one is about to take, the others skip. The order stays fair, since
        a row counts against its owner alike whether it waits before another or runs.
        """
        now, unsure, head = time.time(), list(self.unsure), None
        try:
            with self.database.write(alone=False) as sql:
                for number, when in unsure:
                    sql.execute(GIVE_BACK, (number, process, when))
                if tuple(kinds) == DOWNLOADS or not sql.execute(f"SELECT {PAUSED} AS paused").fetchone()["paused"]:
                    who = {"kinds": json.dumps(list(kinds)), "owner": owner, "but": json.dumps(list(but))}
                    head = sql.execute(NEXT + self.database.skip_locked, who).fetchone()
                if head is not None:
                    sql.execute(TAKE, (process, now, now, now, head["number"]))
                    head = sql.execute("SELECT * FROM jobs WHERE number = ?", (head["number"],)).fetchone()
        except HistoryUnreachable:
            if head is not None:
                self.unsure.append((head["number"], now))
            raise
        for one in unsure:
            with contextlib.suppress(ValueError):
                self.unsure.remove(one)
        taken: Row | None = head
        return taken

    def unclaim(self, row: Row) -> None:
        """A row that was claimed and not begun waits again, as soon as the database can be told."""
        self.unsure.append((row["number"], row["started"]))

    def update(self, id: str, process: str, since: float | None = None, **values: Any) -> bool:
        """How far a row has come that ``process`` still runs, as claimed at ``since``; False when it no longer does."""
        return self._change(id, process, since, NOT_ENDED, values, quiet=True)

    def settle(self, id: str, process: str, since: float | None = None, **values: Any) -> bool:
        """The last word about a job; it also counts when the row was taken for interrupted meanwhile."""
        return self._change(id, process, since, f"({NOT_ENDED} OR state = 'interrupted')", values)

    def _change(
        self, id: str, process: str, since: float | None, condition: str, values: dict[str, Any], *, quiet: bool = False
    ) -> bool:
        """Whether the row is of ``process`` and meets ``condition``, and so was changed."""
        columns = ", ".join(f"{name} = :{name}" for name in values)
        with self.database.write(alone=False, quiet=quiet) as sql:
            done = sql.execute(
                f"UPDATE jobs SET {columns}, updated = :_now WHERE id = :_id AND process = :_process AND {SAME_RUN}"
                f" AND {condition}",
                {**values, "_now": time.time(), "_id": id, "_process": process, "since": since},
            )
            return done.rowcount == 1

    def cancel(self, id: str) -> None:
        """End a waiting row; ask the runner of a running one to stop; leave an ended one."""
        self._cancel("id", id)

    def cancel_batch(self, name: str) -> None:
        """As ``cancel`` for each, at once: none begins because another ends."""
        self._cancel("batch", name)

    def _cancel(self, column: str, value: str) -> None:
        now = time.time()
        with self.database.write(alone=False) as sql:
            sql.execute(
                f"UPDATE jobs SET state = 'cancelled', ended = ?, updated = ? WHERE {column} = ? AND state = 'queued'",
                (now, now, value),
            )
            sql.execute(f"UPDATE jobs SET cancel = 1 WHERE {column} = ? AND {NOT_ENDED}", (value,))

    def batch(self, name: str) -> list[Row]:
        """The jobs that were asked for together, in that order, without deleted ones."""
        return self.database.read("SELECT * FROM jobs WHERE batch = ? AND deleted IS NULL ORDER BY number", (name,))

    def together(self, names: Iterable[str]) -> list[Row]:
        """``id`` and ``batch`` of the jobs of these batches, each in its order, without deleted ones."""
        return self.database.read(
            "SELECT id, batch FROM jobs WHERE batch IN (SELECT value FROM json_each(?)) AND deleted IS NULL ORDER BY number",
            (json.dumps(list(names)),),
        )

    def replace(self, id: str, request: GenerationRequest, timing_key: str, steps: int, name: str) -> bool:
        """Another request for a job, and what its picture's file is called; False where it does not wait any more."""
        values = {"request": request.model_dump_json(), "schema": SCHEMA_VERSION, "key": timing_key, "steps": steps}
        values |= {"name": name}
        with self.database.write(alone=False) as sql:
            done = sql.execute(
                "UPDATE jobs SET request = :request, schema = :schema, timing_key = :key, steps = :steps, name = :name,"
                " reached = NULL, stalled = 0, message = '', step = NULL, total = NULL, has_preview = 0, notes = '[]',"
                " updated = :now WHERE id = :id AND state = 'queued'",
                {**values, "id": id, "now": time.time()},
            )
            return done.rowcount == 1

    def rewrite(self, id: str, change: Callable[[Row], GenerationRequest]) -> bool:
        """The request of a job that waits or runs, as ``change`` makes it of its row; False where it has ended."""
        with self.database.write() as sql:
            row = sql.execute(f"SELECT * FROM jobs WHERE id = ? AND {NOT_ENDED}", (id,)).fetchone()
            if row is not None:
                text = change(row).model_dump_json()
                sql.execute(
                    "UPDATE jobs SET request = ?, schema = ? WHERE number = ?", (text, SCHEMA_VERSION, row["number"])
                )
            return row is not None

    def without_process(self) -> list[str]:
        """Processes that have running rows but no lease any more."""
        rows = self.database.read(
            f"SELECT DISTINCT process FROM jobs WHERE {NOT_ENDED} AND state != 'queued' AND process NOT IN (SELECT id FROM processes)"
        )
        return [row["process"] for row in rows]

    def history(self, owner: str | None, limit: int, before: str | None) -> list[Row]:
        """Clips and stills, newest first, without deleted ones."""
        where, values = ["kind != 'download'", "deleted IS NULL"], []
        if owner is not None:
            where.append("owner = ?")
            values.append(owner)
        if before is not None:
            # A page's last job may have been deleted since: its number still tells where to go on.
            where.append("number < ?")
            values.append(self.row(before, deleted=True)["number"])
        return self.database.read(
            f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?", (*values, max(0, limit))
        )

    def set_deleted(self, id: str, when: float | None) -> None:
        with self.database.write(alone=False) as sql:
            sql.execute("UPDATE jobs SET deleted = ? WHERE id = ?", (when, id))

    def deleted_before(self, when: float) -> list[Row]:
        """Ended rows whose time to be undeleted is over."""
        return self.database.read(f"SELECT * FROM jobs WHERE deleted < ? AND NOT ({NOT_ENDED})", (when,))

    def ended_before(self, ids: list[str], when: float) -> list[str]:
        """Those of ``ids`` that ended before this time."""
        sql = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND ended < ?"
        return [row["id"] for row in self.database.read(sql, (json.dumps(ids), when))]

    def ended(self) -> list[Row]:
        """``id`` and ``ended`` of clips and stills that have ended, the oldest first, without deleted ones."""
        return self.database.read(
            f"SELECT id, ended FROM jobs WHERE kind != 'download' AND deleted IS NULL AND ended IS NOT NULL AND NOT ({NOT_ENDED})"
            " ORDER BY ended, number"
        )

    def unended(self) -> list[str]:
        """The ids of all jobs that have not ended."""
        return [row["id"] for row in self.database.read(f"SELECT id FROM jobs WHERE {NOT_ENDED}")]

    def purge(self, id: str) -> bool:
        """Forget a deleted row; False when it was undeleted meanwhile."""
        with self.database.write(alone=False) as sql:
            return sql.execute("DELETE FROM jobs WHERE id = ? AND deleted IS NOT NULL", (id,)).rowcount == 1

    def pictures(self) -> set[str]:
        """The ref of every picture that any row still speaks of, deleted ones too."""
        rows = self.database.read("SELECT request || coalesce(result, '') AS text FROM jobs")
        return {ref for row in rows for ref in REF.findall(row["text"])}

    def first_created(self) -> float | None:
        """When the oldest row was made."""
        oldest = self.database.read("SELECT MIN(created) AS oldest FROM jobs")[0]["oldest"]
        return None if oldest is None else float(oldest)
