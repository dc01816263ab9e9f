"""The queue and the history as SQL: every question and every change the service has, one function each.

The database is the queue. A row belongs to at most one process (``process``, the id of its lease) while it
runs, and every change a runner makes is conditional on still owning the row.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from ..asset_ref import REF
from ..errors import Interrupted, NotFound, QueueFull, SvdUiError
from ..events import ENDED
from ..request import SCHEMA_VERSION, GenerationRequest
from . import JobKind
from .database import Database

NOT_ENDED = "state NOT IN (" + ", ".join(f"'{state}'" for state in sorted(ENDED)) + ")"
RUNNING = f"{NOT_ENDED} AND state != 'queued'"
OF_KINDS = "kind IN (SELECT value FROM json_each(:kinds))"  # :kinds is a JSON list

# Fair order: everybody's first job comes before anybody's second; what an owner has running counts.
FAIR_QUEUE = f"""
    SELECT queue.*, ROW_NUMBER() OVER (ORDER BY turn, number) - 1 AS position FROM (
        SELECT jobs.*,
            ROW_NUMBER() OVER (PARTITION BY jobs.owner ORDER BY number) + COALESCE(busy.count, 0) AS turn
        FROM jobs LEFT JOIN (
            SELECT owner, COUNT(*) AS count FROM jobs WHERE {RUNNING} AND {OF_KINDS} GROUP BY owner
        ) AS busy ON busy.owner = jobs.owner
        WHERE state = 'queued' AND {OF_KINDS}
    ) AS queue ORDER BY position
"""
"""Running jobs are counted once for all: counted for each waiting row they cost a look at the whole history each."""


class Store:
    def __init__(self, database: Database) -> None:
        self.database = database

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
        max_queue: int | None = None,
    ) -> None:
        """A new row: queued, or running at once in ``process``. Raises QueueFull."""
        now = time.time()
        state, started = ("queued", None) if process is None else ("loading", now)
        values: dict[str, Any] = {"id": id, "owner": owner, "kind": kind, "state": state, "process": process}
        values |= {"schema": SCHEMA_VERSION, "request": request.model_dump_json()}
        values |= {"name": name, "batch": batch, "timing_key": timing_key, "steps": steps}
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
        return self._read(FAIR_QUEUE, kinds)

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
        """Take the next waiting row for ``process``, or None."""
        now = time.time()
        with self.database.write() as sql:
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

    def settle(self, id: str, process: str, **values: Any) -> None:
        """The last word about a job; it also counts when the row was taken for interrupted meanwhile."""
        self._change(id, process, f"({NOT_ENDED} OR state = 'interrupted')", values)

    def _change(self, id: str, process: str, condition: str, values: dict[str, Any]) -> bool:
        """Whether the row is of ``process`` and meets ``condition``, and so was changed."""
        columns = ", ".join(f"{name} = :{name}" for name in values)
        with self.database.write() as sql:
            done = sql.execute(
                f"UPDATE jobs SET {columns}, updated = :_now WHERE id = :_id AND process = :_process AND {condition}",
                {**values, "_now": time.time(), "_id": id, "_process": process},
            )
            return done.rowcount == 1

    def should_stop(self, id: str, process: str) -> bool:
        """Whether the runner has to give up: cancelled, or the row is no longer its own."""
        rows = self.database.read(
            f"SELECT cancel FROM jobs WHERE id = ? AND process = ? AND {NOT_ENDED}", (id, process)
        )
        return not rows or bool(rows[0]["cancel"])

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

    def interrupt(self, processes: Iterable[str]) -> int:
        """End the rows that these processes left behind; returns how many."""
        error = json.dumps(Interrupted().to_dict())
        now, count = time.time(), 0
        with self.database.write() as sql:
            for process in processes:
                done = sql.execute(
                    "UPDATE jobs SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'interrupted' END,"
                    " error = CASE WHEN cancel THEN NULL ELSE ? END, ended = ?, updated = ?"
                    f" WHERE process = ? AND {NOT_ENDED}",
                    (error, now, now, process),
                )
                count += done.rowcount
        return count

    def interrupt_job(self, id: str, process: str) -> None:
        """End one row of ``process``, without raising: the last resort of a slot."""
        error = Interrupted()
        with contextlib.suppress(SvdUiError):
            self.update(id, process, state="interrupted", error=json.dumps(error.to_dict()), ended=time.time())

    def without_process(self) -> list[str]:
        """Processes that have running rows but no lease any more."""
        rows = self.database.read(
            f"SELECT DISTINCT process FROM jobs WHERE {RUNNING} AND process NOT IN (SELECT id FROM processes)"
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
