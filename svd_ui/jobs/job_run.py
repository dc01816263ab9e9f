"""Running one claimed job to its end, whatever happens; shared by the slots and by ``run_inline``."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from ..catalog import find_checkpoint
from ..engine import CancelToken, Engine
from ..errors import Cancelled, SvdUiError, TookTooLong, Unexpected
from ..events import Event
from ..hub import TEXT_TO_IMAGE, Hub
from ..settings import Settings
from . import Job
from .recording import Later, Recorder
from .rows import to_job
from .store import Store
from .timing_key import TimingKey

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2

Source = Callable[[Path, CancelToken], Iterator[Event]]
"""(folder for files, cancel) => events of one job."""


class RowCancel:
    """A CancelToken that anybody can set through the database, from any process; ``max_seconds`` after ``begun`` sets it too.

    ``reason`` is what the job ends with.
    """

    def __init__(self, store: Store, id: str, process: str, max_seconds: float | None) -> None:
        self.reason: SvdUiError = Cancelled()
        self._store, self._id, self._process = store, id, process
        self._max_seconds = max_seconds
        self._deadline: float | None = None
        self._next = 0.0
        self._set = threading.Event()

    def begun(self) -> None:
        """The time limit counts from here, once: waiting for a device that another program uses is not work."""
        if self._max_seconds is not None and self._deadline is None:
            self._deadline = time.monotonic() + self._max_seconds

    def is_set(self) -> bool:
        now = time.monotonic()
        if self._set.is_set() or now < self._next:
            return self._set.is_set()
        self._next = now + POLL_SECONDS
        if self._deadline is not None and now > self._deadline:
            self.stop(TookTooLong(seconds=self._max_seconds))
            return True
        try:
            if self._store.should_stop(self._id, self._process):
                self.stop(Cancelled())
        except SvdUiError as error:  # not being able to look is no reason to stop
            log.warning("cannot look for a cancel of %s: %s", self._id, error)
        return self._set.is_set()

    def stop(self, reason: SvdUiError) -> None:
        if not self._set.is_set():
            self.reason = reason
            self._set.set()


class Run:
    """One claimed job, ready to be driven by ``events``."""

    def __init__(self, source: Source, recorder: Recorder, cancel: RowCancel, *, needs_result: bool) -> None:
        self.cancel = cancel
        self._source, self._recorder, self._needs_result = source, recorder, needs_result

    def events(self) -> Generator[Event]:
        """Yield each event after recording it. The row has ended when this ends, however it ends.

        Errors of the job are recorded, not raised. Closing this generator early cancels the job.
        """
        recorder, cancel, events = self._recorder, self.cancel, None
        try:
            events = self._source(recorder.folder, cancel)
            for event in events:
                cancel.begun()
                recorder.record(event)
                if recorder.lost:
                    cancel.stop(Cancelled())
                yield event
            if not recorder.ended and self._needs_result:
                raise Unexpected(detail="the engine ended without a result")
            if not recorder.ended:
                recorder.finish(None)
        except (GeneratorExit, KeyboardInterrupt):
            self.abandon()
            raise
        except Cancelled:
            self._end(cancel.reason)
        except SvdUiError as error:
            self._end(error)
        except Exception as error:
            log.exception("job %s", recorder.id)
            self._end(Unexpected(detail=type(error).__name__))
        finally:
            # Not every iterator is a generator, but one that is frees its memory here and not at some later time.
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def abandon(self) -> None:
        """Nobody waits for it any more: cancelled, unless it has ended."""
        self.cancel.stop(Cancelled())
        if not self._recorder.ended:
            self._end(self.cancel.reason)

    def _end(self, reason: SvdUiError) -> None:
        recorder = self._recorder
        if recorder.ended:  # its result is safe: what fails after it is for the log
            log.warning("job %s, after it had ended: %s", recorder.id, reason)
        elif isinstance(reason, Cancelled):
            recorder.cancelled()
        else:
            recorder.fail(reason)


class Runner:
    """Claimed rows => runs, for the process whose lease is ``process``."""

    def __init__(self, settings: Settings, store: Store, hub: Hub, process: str, later: Later) -> None:
        self._settings, self._store, self._hub = settings, store, hub
        self._process, self._later = process, later

    def prepare(self, row: sqlite3.Row, engine: Engine | None) -> Run:
        """``engine`` None is for downloads."""
        job = to_job(row)
        limit = None if job.kind == "download" else self._settings.max_seconds
        folder = self._settings.jobs_dir / job.id
        key = TimingKey.parse(row["timing_key"])
        if engine is not None:
            engine.expect(self._store.waiting(("clip",)))
        device = engine.describe() if engine is not None else None
        warm = device.loaded_checkpoint if device is not None else None
        recorder = Recorder(self._store, job.id, self._process, folder, key, self._later, warm)
        cancel = RowCancel(self._store, job.id, self._process, limit)
        return Run(self._source(job, engine), recorder, cancel, needs_result=engine is not None)

    def _source(self, job: Job, engine: Engine | None) -> Source:
        def events(folder: Path, cancel: CancelToken) -> Iterator[Event]:
            if engine is None:
                return self._fetch(job.request.checkpoint, cancel)
            folder.mkdir(parents=True, exist_ok=True)
            make = engine.make_still if job.kind == "still" else engine.generate
            return make(job.request, folder, cancel)

        return events

    def _fetch(self, id: str, cancel: CancelToken) -> Iterator[Event]:
        if id == TEXT_TO_IMAGE:
            return self._hub.fetch_text_to_image(cancel)
        return self._hub.fetch(find_checkpoint(self._settings, id), cancel)
