"""A slot: one thread that takes waiting jobs one after the other and drives each to its end."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from ..engine import Engine
from ..errors import Interrupted, SvdUiError
from .job_run import Run
from .store import Store

log = logging.getLogger(__name__)
POLL_SECONDS = 0.3

Prepare = Callable[[sqlite3.Row, Engine | None], Run]
"""(claimed row, the slot's engine) => its run."""


class Slot(threading.Thread):
    """Drains the queue of ``kinds``; its engine, if it has one, runs one job at a time here.

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
        engine: Engine | None = None,
        idle_seconds: float = 0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._kinds, self._engine = kinds, engine
        self._store, self._process, self._prepare = store, process, prepare
        self._idle_seconds = idle_seconds
        self._wake = threading.Condition()
        self._stopping = False
        self._release_wanted = False
        self._used = False
        self._last_work = time.monotonic()
        self._current: Run | None = None

    def wake(self) -> None:
        """Look at the queue now."""
        with self._wake:
            self._wake.notify()

    def release(self) -> None:
        """Free device memory as soon as no job is running here."""
        self._release_wanted = True
        self.wake()

    def stop(self) -> None:
        """Take no more jobs; the running one ends as interrupted within one step."""
        self._stopping = True
        current = self._current
        if current is not None:
            current.cancel.stop(Interrupted())
        self.wake()

    def run(self) -> None:
        while not self._stopping:
            try:
                row = self._store.claim(self._process, self._kinds) if self._store.has_work(self._kinds) else None
            except SvdUiError as error:
                log.warning("the queue cannot be read: %s", error)
                row = None
            if row is not None:
                self._run(row)
                continue
            self._release_if_due()
            with self._wake:
                if not self._stopping:
                    self._wake.wait(POLL_SECONDS)

    def _run(self, row: sqlite3.Row) -> None:
        try:
            self._current = run = self._prepare(row, self._engine)
            if self._stopping:  # stop() came between the claim and here
                run.cancel.stop(Interrupted())
            for _ in run.events():
                pass
        except Exception:  # a defect of ours: the queue goes on, and the row must not stay "running" for ever
            log.exception("job %s left its slot in an unforeseen way", row["id"])
            self._store.interrupt_job(row["id"], self._process)
        finally:
            self._current = None
            self._used = True
            self._last_work = time.monotonic()

    def _release_if_due(self) -> None:
        idle = self._used and 0 < self._idle_seconds <= time.monotonic() - self._last_work
        if self._engine is None or not (idle or self._release_wanted):
            return
        self._release_wanted = self._used = False
        try:
            self._engine.release()
        except Exception as error:  # nothing an engine raises between jobs may end its slot
            log.warning("device memory could not be released: %s", error)
