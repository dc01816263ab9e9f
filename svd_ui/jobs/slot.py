"""One job after the other, in a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from ..engine import Engine
from ..errors import Interrupted, SvdUiError
from ..logs import bound
from .database import Row, warn
from .job_run import JobRun, give_up, room
from .rotation import Rotation, Seat
from .store import Store

log = logging.getLogger(__name__)
QUEUE_POLL_SECONDS = 0.3
ROOM_AGAIN = 64_000_000
"""Bytes that have to be free for jobs to begin again after a disk was full."""

Prepare = Callable[[Row, Engine | None], JobRun]
"""(claimed row, the slot's engine) => its run."""


class Slot(threading.Thread):
    """Drains the queue of ``kinds``; the engine of its seat, if it has one, runs one job at a time here.

    Of a ``rotation`` it takes what its seat may take.

    After ``idle_seconds`` without work the engine's device memory is released, once (0: never).
    """

    def __init__(
        self,
        name: str,
        kinds: tuple[str, ...],
        store: Store,
        process: str,
        prepare: Prepare,
        *,
        seat: Seat | None = None,
        rotation: Rotation | None = None,
        idle_seconds: float = 0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._kinds, self._seat, self._rotation = kinds, seat, rotation
        self._engine = seat.engine if seat is not None else None
        self._store, self._process, self._prepare = store, process, prepare
        self._idle_seconds = idle_seconds
        self._wake = threading.Condition()
        self._stopping = False
        self._closing = threading.Event()
        self._release_wanted = False
        self._used = False
        self._last_work = time.monotonic()
        self._current: JobRun | None = None
        self._no_room = False

    def wake(self) -> None:
        """Look at the queue now."""
        with self._wake:
            self._wake.notify()

    def release(self) -> None:
        """Free device memory as soon as no job is running here."""
        self._release_wanted = True
        self.wake()

    def stop(self) -> None:
        """Take no more jobs; the running one is put back into the queue within one step."""
        self._stopping = True
        self._closing.set()
        current = self._current
        if current is not None:
            current.cancel.stop(Interrupted())
        self.wake()

    def run(self) -> None:
        while not self._stopping:
            try:
                took = self._turn()
            except Exception:  # a defect of ours must not end who makes everybody's clips
                log.exception("%s: a turn ended in an unforeseen way", self.name)
                took = False
            if took:
                continue
            with self._wake:
                if not self._stopping:
                    self._wake.wait(QUEUE_POLL_SECONDS)

    def _turn(self) -> bool:
        """Run the next job, or else free memory that is not needed; whether there was one."""
        self._no_room = self._no_room and room(self._store.database.folder) < ROOM_AGAIN
        try:
            waits = not self._no_room and (self._store.waiting(self._kinds) or self._store.unsure)
            wanted = waits and self._may_take()
            row = self._store.claim(self._process, self._kinds, but=self._not_here()) if wanted else None
        except SvdUiError as error:
            warn(log, "the queue cannot be read", error)
            row = None
        if row is not None:
            self._run(row)
        else:
            self._release_if_due()
        return row is not None

    def _may_take(self) -> bool:
        if self._seat is None or self._rotation is None:
            return True
        try:
            return self._rotation.may_take(self._seat, self._closing)
        except SvdUiError as error:  # it was closed meanwhile
            log.info("%s: %s", self.name, error)
            return False

    def _not_here(self) -> list[str]:
        """Jobs that somebody else should take."""
        return self._rotation.not_for(self._seat) if self._seat is not None and self._rotation is not None else []

    def _run(self, row: Row) -> None:
        try:
            self._current = run = self._prepare(row, self._engine)
        except SvdUiError as error:  # the database went away since the claim
            warn(log, f"job {row['id']} could not be begun", error)
            self._store.unclaim(row)
            self._closing.wait(QUEUE_POLL_SECONDS)
            return
        except Exception as error:  # the row is damaged
            log.warning("job %s: %r", row["id"], error)
            give_up(self._store, self._process, row["id"])
            return
        try:
            if self._seat is not None:
                self._seat.began(row["id"])
            if self._stopping:  # stop() came between the claim and here
                run.cancel.stop(Interrupted())
            with bound(job=row["id"]):
                for _ in run.events():
                    pass
            self._no_room = run.ran_full
        except Exception:  # a defect of ours: the queue goes on, and the row must not stay "running" for ever
            log.exception("job %s left its slot in an unforeseen way", row["id"])
            with contextlib.suppress(SvdUiError):
                self._store.waitlist.put_back(self._process, row["id"], Interrupted())
        finally:
            self._current = None
            if self._seat is not None:
                self._seat.ended(row["id"], run.died, run.headway)
            self._used = True
            self._last_work = time.monotonic()

    def _release_if_due(self) -> None:
        if self._engine is None:
            return
        idle = self._used and 0 < self._idle_seconds <= time.monotonic() - self._last_work
        if not (idle or self._release_wanted or (self._used and self._is_paused())):
            return
        self._release_wanted = self._used = False
        try:
            self._engine.release()
        except Exception as error:  # nothing an engine raises between jobs may end its slot
            log.warning("device memory could not be released: %s", error)

    def _is_paused(self) -> bool:
        try:
            return self._store.waitlist.paused
        except SvdUiError:
            return False
