"""The queue and the history as SQL: every question and every change the service has, one function each.

The database is the queue. A row belongs to at most one process (``process``, the id of its lease) while it
runs, and every change a runner makes is conditional on still owning the row.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..asset_ref import REF
from ..errors import NotFound, QueueFull
from ..request import SCHEMA_VERSION, GenerationRequest
from . import JobKind
from .database import Database
from .queue import DOWNLOADS, FAIR_QUEUE, NOT_ENDED, OF_KINDS, PAUSED, RUNNING, Queue


class Store:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.waitlist = Queue(database)

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
        values |= {"name": name, "batch": batch, "timing_key": timing_key, "steps": steps, "inline": inline}
        values |= {"created": now, "updated": now, "started": started, "phase_started": started}
        with self.database.write() as sql:
            if max_queue is not None:
                waiting = sql.execute("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
                if waiting >= max_queue:
                    raise QueueFull()
            sql.execute(f"INSERT INTO jobs ({', '.join(values)}) VALUES (:{', :'.join(values)})", values)

    def row(self, id: str, *, deleted: bool = False) -> sqlite3.Row:
        """The row, also if it was deleted when ``deleted``. Raises NotFound."""
        rows = self.database.read("SELECT * FROM jobs WHERE id = ?", (id,))
        if not rows or (rows[0]["deleted"] is not None and not deleted):
            raise NotFound(what="job")
        return rows[0]

    def queue(self, kinds: Iterable[str]) -> list[sqlite3.Row]:
        """Waiting rows in the order they will be taken, with ``position``."""
        return self.waitlist.waiting(kinds)

    def running(self, kinds: Iterable[str]) -> list[sqlite3.Row]:
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

    def _read(self, sql: str, kinds: Iterable[str]) -> list[sqlite3.Row]:
        return self.database.read(sql, {"kinds": json.dumps(list(kinds))})

    def active_download(self, checkpoint: str) -> str | None:
        """The id of a download of ``checkpoint`` that has not ended."""
        rows = self.database.read(
            f"SELECT id FROM jobs WHERE kind = 'download' AND {NOT_ENDED} AND timing_key = ?", (checkpoint,)
        )
        return str(rows[0]["id"]) if rows else None

    def claim(self, process: str, kinds: Iterable[str]) -> sqlite3.Row | None:
        """Take the next waiting row for ``process``, or None; none but downloads while the queue is paused."""
        now = time.time()
        with self.database.write() as sql:
            if tuple(kinds) != DOWNLOADS and sql.execute(f"SELECT {PAUSED}").fetchone()[0]:
                return None
            head = sql.execute(FAIR_QUEUE + " LIMIT 1", {"kinds": json.dumps(list(kinds))}).fetchone()
            if head is None:
                return None
            sql.execute(
                "UPDATE jobs SET state = 'loading', process = ?, started = ?, phase_started = ?, updated = ?"
                " WHERE number = ?",
                (process, now, now, now, head["number"]),
            )
            row: sqlite3.Row = sql.execute("SELECT * FROM jobs WHERE number = ?", (head["number"],)).fetchone()
            return row

    def update(self, id: str, process: str, **values: Any) -> bool:
        """Change a row that ``process`` still runs; False when it no longer does."""
        return self._change(id, process, NOT_ENDED, values)

    def settle(self, id: str, process: str, **values: Any) -> bool:
        """The last word about a job; it also counts when the row was taken for interrupted meanwhile."""
        return self._change(id, process, f"({NOT_ENDED} OR state = 'interrupted')", values)

    def _change(self, id: str, process: str, condition: str, values: dict[str, Any]) -> bool:
        """Whether the row is of ``process`` and meets ``condition``, and so was changed."""
        columns = ", ".join(f"{name} = :{name}" for name in values)
        with self.database.write() as sql:
            done = sql.execute(
                f"UPDATE jobs SET {columns}, updated = :_now WHERE id = :_id AND process = :_process AND {condition}",
                {**values, "_now": time.time(), "_id": id, "_process": process},
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
        with self.database.write() as sql:
            sql.execute(
                f"UPDATE jobs SET state = 'cancelled', ended = ?, updated = ? WHERE {column} = ? AND state = 'queued'",
                (now, now, value),
            )
            sql.execute(f"UPDATE jobs SET cancel = 1 WHERE {column} = ? AND {NOT_ENDED}", (value,))

    def batch(self, name: str) -> list[sqlite3.Row]:
        """The jobs that were asked for together, in that order, without deleted ones."""
        return self.database.read("SELECT * FROM jobs WHERE batch = ? AND deleted IS NULL ORDER BY number", (name,))

    def together(self, names: Iterable[str]) -> list[sqlite3.Row]:
        """``id`` and ``batch`` of the jobs of these batches, each in its order, without deleted ones."""
        return self.database.read(
            "SELECT id, batch FROM jobs WHERE batch IN (SELECT value FROM json_each(?)) AND deleted IS NULL ORDER BY number",
            (json.dumps(list(names)),),
        )

    def replace(self, id: str, request: GenerationRequest, timing_key: str, steps: int, name: str) -> bool:
        """Another request for a job, and what its picture's file is called; False where it does not wait any more."""
        values = {"request": request.model_dump_json(), "schema": SCHEMA_VERSION, "key": timing_key, "steps": steps}
        values |= {"name": name}
        with self.database.write() as sql:
            done = sql.execute(
                "UPDATE jobs SET request = :request, schema = :schema, timing_key = :key, steps = :steps, name = :name,"
                " reached = NULL, stalled = 0, message = '', updated = :now WHERE id = :id AND state = 'queued'",
                {**values, "id": id, "now": time.time()},
            )
            return done.rowcount == 1

    def rewrite(self, id: str, change: Callable[[sqlite3.Row], GenerationRequest]) -> bool:
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

    def history(self, owner: str | None, limit: int, before: str | None) -> list[sqlite3.Row]:
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
        with self.database.write() as sql:
            sql.execute("UPDATE jobs SET deleted = ? WHERE id = ?", (when, id))

    def deleted_before(self, when: float) -> list[sqlite3.Row]:
        """Ended rows whose time to be undeleted is over."""
        return self.database.read(f"SELECT * FROM jobs WHERE deleted < ? AND NOT ({NOT_ENDED})", (when,))

    def ended_before(self, ids: list[str], when: float) -> list[str]:
        """Those of ``ids`` that ended before this time."""
        sql = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND ended < ?"
        return [row["id"] for row in self.database.read(sql, (json.dumps(ids), when))]

    def ended(self) -> list[sqlite3.Row]:
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
        with self.database.write() as sql:
            return sql.execute("DELETE FROM jobs WHERE id = ? AND deleted IS NOT NULL", (id,)).rowcount == 1

    def pictures(self) -> set[str]:
        """The ref of every picture that any row still speaks of, deleted ones too."""
        rows = self.database.read("SELECT request || coalesce(result, '') AS text FROM jobs")
        return {ref for row in rows for ref in REF.findall(row["text"])}

    def first_created(self) -> float | None:
        """When the oldest row was made."""
        oldest = self.database.read("SELECT MIN(created) AS oldest FROM jobs")[0]["oldest"]
        return None if oldest is None else float(oldest)
