"""Rows => jobs with their place in the queue and the time they will still take."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..events import ENDED
from . import Job
from .leases import total_slots
from .rows import to_job
from .store import Store
from .timing import Timings, waiting_seconds

CLIPS = ("clip", "still")
DOWNLOADS = ("download",)


def to_jobs(store: Store, timings: Timings, rows: Sequence[sqlite3.Row], warm: str | None = None) -> list[Job]:
    """One look at the queue serves all rows; ended ones need none. ``warm`` is the checkpoint in memory."""
    active = [row for row in rows if row["state"] not in ENDED]
    if not active:
        return [to_job(row) for row in rows]
    known = timings.known(warm)
    expected: dict[str, tuple[int | None, float | None]] = {}
    for lane in (CLIPS, DOWNLOADS):
        waiting = [row for row in active if row["state"] == "queued" and row["kind"] in lane]
        if waiting:
            slots = total_slots(store.database) if lane is CLIPS else 1
            queue = store.queue(lane)
            ends = waiting_seconds(known, store.running(lane), queue, slots)
            expected |= {row["id"]: (row["position"], ends[row["id"]]) for row in queue}
    running = [row for row in active if row["state"] != "queued"]
    expected |= {row["id"]: (None, known.remaining(row)) for row in running}
    return [to_job(row, *expected.get(row["id"], (None, None))) for row in rows]
