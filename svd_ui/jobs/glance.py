"""The queue as it stands: looked at once for all who ask within a moment, for two hundred pages ask it thirty times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..errors import SvdUiError, from_dict
from ..events import ENDED
from . import Job
from .database import Row
from .queue import CLIPS, DOWNLOADS
from .rows import is_sound, readable
from .store import Store
from .timing import Known, Timings, waiting_seconds

FRESH_SECONDS = 0.25
"""So long a look counts unless this process changed the queue; what other processes did is seen so much later at most."""


class Lane(NamedTuple):
    """Waiting rows in their order, and id => (position, seconds until its end or None)."""

    queue: tuple[Row, ...] = ()
    expected: dict[str, tuple[int, float | None]] = {}


class Seen(NamedTuple):
    at: float
    changes: int
    known: Known
    lanes: tuple[Lane, Lane]


class Glance:
    """Thread-safe. ``slots`` counts the clips that are made at a time, ``warm`` names the checkpoint in memory."""

    def __init__(
        self,
        store: Store,
        timings: Timings,
        slots: Callable[[], int],
        warm: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._timings, self._slots, self._warm, self._clock = store, timings, slots, warm, clock
        self._lock = threading.Lock()
        self._last: Seen | None = None
        self._failed: tuple[float, SvdUiError] | None = None

    def jobs(self, rows: Iterable[Row]) -> list[Job]:
        """The jobs of ``rows``, each with its place in the queue and the time that it will still take; ended ones need no look."""
        rows = [row for row in rows if is_sound(row)]
        waiting = {row["id"] for row in rows if row["state"] == "queued"}
        running = [row for row in rows if row["state"] not in (*ENDED, "queued")]
        if not waiting and not running:
            return readable(rows, {})
        look = self._look()
        if not waiting <= look.lanes[0].expected.keys() | look.lanes[1].expected.keys():
            look = self._look(anew=True)  # another process put it there
        expected: dict[str, tuple[int | None, float | None]] = {
            id: place for lane in look.lanes for id, place in lane.expected.items() if id in waiting
        }
        return readable(rows, expected | {row["id"]: (None, look.known.remaining(row)) for row in running})

    def queue(self) -> tuple[Row, ...]:
        """Clips and stills that wait, in their order."""
        return self._look().lanes[0].queue

    def known(self) -> Known:
        """What was learnt of how long clips take."""
        return self._look().known

    def _look(self, anew: bool = False) -> Seen:
        came = self._clock()
        with self._lock:  # who comes meanwhile gets what this look finds, a database that does not answer too
            if self._failed is not None and self._failed[0] >= came:
                raise from_dict(self._failed[1].to_dict())
            try:
                return self._found(anew)
            except SvdUiError as error:
                self._failed = self._clock(), error
                raise

    def _found(self, anew: bool) -> Seen:
        last, changes = self._last, self._store.database.changes
        if last is None or last.changes != changes or anew or self._clock() - last.at > FRESH_SECONDS:
            known = self._timings.known(self._warm())
            lanes = self._lane(known, CLIPS, self._slots), self._lane(known, DOWNLOADS, lambda: 1)
            last = self._last = Seen(self._clock(), changes, known, lanes)
        return last

    def _lane(self, known: Known, kinds: Sequence[str], slots: Callable[[], int]) -> Lane:
        queue, running = (list(filter(is_sound, found(kinds))) for found in (self._store.queue, self._store.running))
        begun = {row["id"] for row in running}
        queue = [row for row in queue if row["id"] not in begun]  # what began meanwhile counts once
        if not queue:
            return Lane()
        ends = waiting_seconds(known, running, queue, slots())
        return Lane(tuple(queue), {row["id"]: (row["position"], ends[row["id"]]) for row in queue})
