"""What waits, in which order; and how a job that was stopped, or whose process died, comes back into its place.

Fair order: everybody's first job comes before anybody's second, what an owner has running counts, and who was served longest
ago comes first. ``rank`` is a job's
place among its owner's, ``turn`` its round where the operator gave one. A pause and every place are rows: they outlive
restarts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import BadInput, DiedAgain, DiskFull, Interrupted, NotFound, NotWaiting, SvdUiError, WorkerStopped
from ..events import ENDED
from ..events import RUNNING as STAGES
from .database import Database, Row

Where = Literal["first", "last", "before", "after"]
CLIPS = ("clip", "still")
DOWNLOADS = ("download",)
NOT_ENDED = "state NOT IN (" + ", ".join(f"'{state}'" for state in sorted(ENDED)) + ")"
RUNNING = "state IN (" + ", ".join(f"'{state}'" for state in sorted(STAGES)) + ")"
OF_KINDS = "kind IN (SELECT value FROM json_each(:kinds))"  # :kinds is a JSON list
PLACE = "COALESCE(rank, number)"
FAIR_QUEUE = f"""
    WITH busy AS (SELECT owner AS who, COUNT(*) AS running FROM jobs WHERE {RUNNING} AND {OF_KINDS} GROUP BY owner),
    served AS (SELECT whose, COALESCE((
        SELECT started FROM jobs WHERE owner = whose AND started IS NOT NULL AND {OF_KINDS} ORDER BY number DESC LIMIT 1
    ), 0) AS at FROM (SELECT DISTINCT owner AS whose FROM jobs WHERE state = 'queued' AND {OF_KINDS}) AS owners)
    SELECT waiting.*, ROW_NUMBER() OVER (ORDER BY round, idle, last, head, place) - 1 AS position FROM (
        SELECT jobs.*, {PLACE} AS place,
            COALESCE(turn, ROW_NUMBER() OVER (PARTITION BY owner ORDER BY {PLACE}) + COALESCE(busy.running, 0)) AS round,
            CASE WHEN turn IS NULL AND busy.running IS NULL THEN 1 ELSE 0 END AS idle,
            CASE WHEN turn IS NULL THEN served.at ELSE 0 END AS last,
            CASE WHEN turn IS NULL THEN MIN({PLACE}) OVER (PARTITION BY owner) ELSE 0 END AS head
        FROM jobs LEFT JOIN busy ON busy.who = jobs.owner LEFT JOIN served ON served.whose = jobs.owner
        WHERE state = 'queued' AND {OF_KINDS}
    ) AS waiting ORDER BY position
"""
"""Owners take turns: of those in one round, first who was served longest ago. What is shown is then what is taken, whatever
ends meanwhile; by places alone, whoever came first with ten clips had them all made before anybody else's.
"""
LAST = f"(SELECT MAX({PLACE}) + 1 FROM jobs)"
PAUSED = "EXISTS (SELECT 1 FROM queue_state WHERE name = 'paused')"
SAME_RUN = "(CAST(:since AS DOUBLE PRECISION) IS NULL OR started = :since)"
"""A process may claim one job twice, after it was taken for dead say: each run speaks for itself alone."""
HELD = "Stopped here. Continues by itself."
NO_ROOM = "The disk is full. Continues by itself when there is room."
BACK = {"state": "queued", "process": None, "started": None, "phase_started": None, "step_seconds": None, "skipped": 0}
"""What a row becomes that waits again; how far it came stays to be seen."""


class Queue:
    def __init__(self, database: Database) -> None:
        self._database = database

    # Looking

    def waiting(self, kinds: Iterable[str] = CLIPS) -> list[Row]:
        """Waiting rows in the order they will be taken, with ``position``."""
        return self._database.read(FAIR_QUEUE, {"kinds": json.dumps(list(kinds))})

    @property
    def paused(self) -> bool:
        """Whether clips and stills wait until somebody resumes the queue; downloads go on."""
        return bool(self._database.read(f"SELECT {PAUSED} AS paused")[0]["paused"])

    # Changing

    def pause(self, paused: bool) -> None:
        """Hold the queue, or let it go on. What runs is put back by its runner."""
        with self._database.write() as sql:
            sql.execute("DELETE FROM queue_state WHERE name = 'paused'")
            if paused:
                sql.execute("INSERT INTO queue_state (name, value) VALUES ('paused', ?)", (str(time.time()),))

    def move(self, id: str, where: Where, other: str | None = None, owner: str | None = None) -> None:
        """Put a waiting job first, last, before or after another; ``owner`` among its own, the operator (None) among all.

        What the operator arranged is taken as it is shown; what is not arranged, and what comes later, in fair order.
        Raises NotFound for what does not wait or is somebody else's.
        """
        with self._database.write() as sql:
            rows: list[Row] = sql.execute(FAIR_QUEUE, {"kinds": json.dumps(CLIPS)}).fetchall()
            if owner is not None:
                rows = [row for row in rows if row["owner"] == owner]
            before = [row["id"] for row in rows]
            after = moved(before, id, where, other)
            if owner is not None:  # the same places, taken in another order: nobody else's changes
                places = dict(zip(after, rows, strict=True))
                values = [(row["turn"], row["place"], one) for one, row in places.items()]
            else:
                arranged = max(before.index(id), after.index(id)) + 1
                arranged = max([arranged, *(at + 1 for at, row in enumerate(rows) if row["turn"] is not None)])
                values = [(0, at - arranged, one) for at, one in enumerate(after[:arranged])]
            sql.executemany("UPDATE jobs SET turn = ?, rank = ? WHERE id = ?", values)

    def skip(self, id: str) -> None:
        """A running job stops and goes to the end of its owner's; a waiting one goes there at once.

        Raises NotWaiting for one that has ended, or that somebody makes at a command line.
        """
        with self._database.write(alone=False) as sql:
            done = sql.execute(
                f"UPDATE jobs SET turn = NULL, rank = {LAST}, skipped = CASE WHEN state = 'queued' THEN 0 ELSE 1 END"
                f" WHERE id = ? AND inline = 0 AND {NOT_ENDED}",
                (id,),
            )
            if done.rowcount == 0:
                raise NotWaiting("That clip cannot be put off: it has ended, or a command line makes it.")

    def stop_all(self, owner: str | None) -> None:
        """Cancel every clip and still of ``owner``, everybody's for the operator (None)."""
        now, mine = time.time(), "(CAST(:owner AS TEXT) IS NULL OR owner = :owner) AND kind != 'download'"
        with self._database.write(alone=False) as sql:
            sql.execute(
                f"UPDATE jobs SET state = 'cancelled', ended = :now, updated = :now WHERE state = 'queued' AND {mine}",
                {"now": now, "owner": owner},
            )
            sql.execute(f"UPDATE jobs SET cancel = 1 WHERE {NOT_ENDED} AND {mine}", {"owner": owner})

    # Coming back

    def why_stop(
        self, id: str, process: str, since: float | None = None
    ) -> Literal["", "cancelled", "held", "skipped"]:
        """Whether the runner has to give up: cancelled or no longer its own, or only stopped for now."""
        held = f"CASE WHEN {PAUSED} AND inline = 0 AND kind != 'download' THEN 'held' WHEN skipped = 1 THEN 'skipped' ELSE '' END"
        rows = self._database.read(
            f"SELECT cancel, {held} AS held FROM jobs WHERE id = :id AND process = :process AND {SAME_RUN} AND {NOT_ENDED}",
            {"id": id, "process": process, "since": since},
        )
        if not rows or rows[0]["cancel"]:
            return "cancelled"
        found: Literal["", "held", "skipped"] = rows[0]["held"]
        return found

    def put_back(
        self, process: str, id: str | None = None, died: SvdUiError | None = None, since: float | None = None
    ) -> list[Row]:
        """What ``process`` left unfinished, or only job ``id`` of it, waits again in its old place; the rows as they were.

        Cancelled where that was asked meanwhile. ``died`` says what ended it where nobody stopped it: a job that dies
        twice in one place, or three times without headway, fails with that. A job of the command line ends: whoever waited for it is gone.
        """
        with self._database.write(alone=False) as sql:
            rows: list[Row] = sql.execute(
                f"SELECT * FROM jobs WHERE process = :process AND (CAST(:id AS TEXT) IS NULL OR id = :id)"
                f" AND {SAME_RUN} AND {NOT_ENDED}"
                f" ORDER BY number{self._database.for_update}",
                {"process": process, "id": id, "since": since},
            ).fetchall()
            for row in rows:
                values = {**_returned(row, died), "updated": time.time()}
                columns = ", ".join(f"{name} = :{name}" for name in values)
                sql.execute(f"UPDATE jobs SET {columns} WHERE number = :_number", {**values, "_number": row["number"]})
        return rows


def moved(ids: Sequence[str], id: str, where: Where, other: str | None = None) -> list[str]:
    """``ids`` with one of them in another place. Raises NotFound for what is not among them, BadInput for no place."""
    if id not in ids:
        raise NotFound(what="waiting job")
    rest = [one for one in ids if one != id]
    if where in ("first", "last"):
        at = 0 if where == "first" else len(rest)
    elif where not in ("before", "after"):
        raise BadInput("Say where to: first, last, before or after another job.", field="where")
    elif other == id:
        return list(ids)
    elif other not in rest:
        raise NotFound(what="waiting job")
    else:
        at = rest.index(other) + (where == "after")
    return [*rest[:at], id, *rest[at:]]


ORDER = ("denoising", "downloading", "decoding", "post_processing", "writing")
"""Stages that a job makes headway in; those before them begin anew."""
FAR = 10**13


def reached(state: str, step: object) -> int:
    """How far a job is, as one number that grows: 0 before its first step."""
    return 0 if state not in ORDER else (ORDER.index(state) + 1) * FAR + (step if isinstance(step, int) else 0)


def _returned(row: Row, died: SvdUiError | None) -> dict[str, object]:
    """The columns of ``row`` that change when its work stopped in the middle."""
    if row["cancel"]:
        return {"state": "cancelled", "message": "Stopped.", "step_seconds": None, "ended": time.time()}
    if row["inline"]:
        return _ended("interrupted", Interrupted())
    far = reached(row["state"], row["step"])
    if died is None:
        return {**BACK, "message": HELD}
    before = -1 if row["reached"] is None else row["reached"]
    stalled = 0 if far > before else row["stalled"] + 1
    if far == before or stalled > 1:
        if isinstance(died, DiskFull):
            return _ended("failed", died)
        reason = died.params.get("reason") if isinstance(died, WorkerStopped) else None
        return _ended("failed", DiedAgain(where=_where(row), reason=reason or "the app was killed"))
    return {
        **BACK,
        "message": NO_ROOM if isinstance(died, DiskFull) else HELD,
        "reached": max(far, before),
        "stalled": stalled,
    }


def _ended(state: str, error: SvdUiError) -> dict[str, object]:
    text = json.dumps(error.to_dict(), default=str)
    return {"state": state, "message": error.message, "error": text, "step_seconds": None, "ended": time.time()}


def _where(row: Row) -> str:
    if row["state"] not in ORDER:
        return "before its first step"
    if row["state"] == "denoising":
        return f"after step {row['step'] or 0} of {row['total'] or row['steps']}"
    return {"decoding": "while decoding", "downloading": "while downloading"}.get(row["state"], "near its end")
