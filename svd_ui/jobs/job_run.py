"""Running a claimed job to its end, whatever happens: driven by a slot, or in its caller's thread."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..catalog import find_checkpoint
from ..engine import CancelToken, Engine
from ..engine.progress import Progress
from ..errors import Cancelled, DiskFull, Displaced, Interrupted, SvdUiError, TookTooLong, Unexpected, WorkerStopped
from ..events import Decoding, Denoising, Event, Finished
from ..hub import TEXT_TO_IMAGE, Hub
from ..media import disk_full
from ..settings import Settings
from . import Job
from .database import Row, warn
from .following import Follower, Meter
from .queue import FAR, reached
from .recording import Later, Recorder, without
from .rows import to_job
from .store import Store
from .timing_key import TimingKey

log = logging.getLogger(__name__)
CANCEL_POLL_SECONDS = 0.2
DISK_POLL_SECONDS = 2.0
FULL_SECONDS = 4.0
"""How long a disk may be full before a job that runs is put back."""
LEAST_ROOM = 500_000

EventSource = Callable[[Path, CancelToken], Iterator[Event]]
"""(folder for files, cancel) => events of one job."""


class RowCancel:
    """A CancelToken that anybody can set through the database, from any process; ``max_seconds`` after ``begun`` sets it too.

    ``reason`` is what the job ends with; after Interrupted it waits again.
    """

    def __init__(
        self,
        store: Store,
        id: str,
        process: str,
        max_seconds: float | None,
        disk: Path | None = None,
        *,
        wall: bool = False,
        since: float | None = None,
    ) -> None:
        """``disk`` is a folder without whose disk nothing of the job would be kept; a ``wall`` may lose tiles on the way."""
        self._wall, self._gone = wall, frozenset[int]()
        self.reason: SvdUiError = Cancelled()
        self._store, self._id, self._process, self._since = store, id, process, since
        self._disk, self._full_since, self._next_disk = disk, 0.0, 0.0
        self._max_seconds = max_seconds
        self._deadline: float | None = None
        self._next = 0.0
        self._set = threading.Event()
        self._in_peace = False

    def begun(self) -> None:
        """The time limit counts from here, once: waiting for a device that another program uses is not work."""
        if self._max_seconds is not None and self._deadline is None:
            self._deadline = time.monotonic() + self._max_seconds

    def is_set(self) -> bool:
        now = time.monotonic()
        if self._set.is_set() or now < self._next:
            return self._set.is_set()
        self._next = now + CANCEL_POLL_SECONDS
        if self._deadline is not None and now > self._deadline:
            self.stop(TookTooLong(seconds=self._max_seconds))
            return True
        if self._is_full(now):
            self.stop(DiskFull())
            return True
        try:
            why = self._store.waitlist.why_stop(self._id, self._process, self._since)
            if why:
                self._in_peace = why == "skipped"
                self.stop(Cancelled() if why == "cancelled" else Interrupted())
            if self._wall:
                self._gone = without(self._store, self._id)
        except SvdUiError as error:  # not being able to look is no reason to stop
            warn(log, f"cannot look for a cancel of {self._id}", error)
        return self._set.is_set()

    def left_out(self) -> frozenset[int]:
        """The tiles of a wall that were cancelled, as of the last look."""
        return self._gone

    def _is_full(self, now: float) -> bool:
        """Whether there has been no room for some seconds: nobody would see the work, and nothing of it would be kept."""
        if self._disk is None or now < self._next_disk:
            return False
        self._next_disk = now + DISK_POLL_SECONDS
        if room(self._disk) >= LEAST_ROOM:
            self._full_since = 0.0
            return False
        self._full_since = self._full_since or now
        return now - self._full_since >= FULL_SECONDS

    @property
    def hurries(self) -> bool:
        """Whether the device is wanted back at once: what is kept of the job is enough to go on from. For the next job it is not."""
        return self.waits_again and not self._in_peace

    @property
    def waits_again(self) -> bool:
        """Whether the job is only stopped for now."""
        return self._set.is_set() and isinstance(self.reason, Interrupted)

    def stop(self, reason: SvdUiError) -> None:
        if not self._set.is_set():
            self.reason = reason
            self._set.set()


class JobRun:
    """One claimed job, ready to be driven by ``events``."""

    def __init__(
        self,
        source: EventSource,
        recorder: Recorder,
        cancel: RowCancel,
        *,
        needs_result: bool,
        again: bool = True,
        reached: int = 0,
    ) -> None:
        """``again``: a job whose worker died waits for the next one, else it fails. ``reached`` is how far it ever came.

        Afterwards ``died`` is what its worker died of, ``headway`` says whether it came further than that.
        """
        self.cancel, self.ran_full = cancel, False
        self.died: WorkerStopped | None = None
        self.headway = False
        self._reached = reached
        self._source, self._recorder, self._needs_result, self._again = source, recorder, needs_result, again

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
                self.headway |= _place(event) > self._reached
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
        elif self.cancel.waits_again or (isinstance(reason, Displaced) and self._again):
            recorder.put_back()
        elif isinstance(reason, WorkerStopped | DiskFull) and self._again:
            self.died = reason if isinstance(reason, WorkerStopped) else None
            self.ran_full = isinstance(reason, DiskFull)
            recorder.put_back(reason)
        elif isinstance(reason, Cancelled):
            recorder.cancelled()
        else:
            recorder.fail(reason)


def _place(event: Event) -> int:
    """How far a job is with ``event``, as ``reached`` has it."""
    if isinstance(event, Finished):
        return FAR * FAR
    done = event.step if isinstance(event, Denoising) else event.done if isinstance(event, Decoding) else None
    return reached(event.stage, done)


class JobRunner:
    """Claimed rows => runs, for the process whose lease is ``process``."""

    def __init__(
        self, settings: Settings, store: Store, hub: Hub, process: str, later: Later, meters: Sequence[Meter] = ()
    ) -> None:
        self._settings, self._store, self._hub = settings, store, hub
        self._process, self._later, self._meters = process, later, meters

    def prepare(self, row: Row, engine: Engine | None) -> JobRun:
        """``engine`` None is for downloads."""
        job = to_job(row)
        limit = None if job.kind == "download" else self._settings.max_seconds
        folder = self._settings.jobs_dir / job.id
        key = TimingKey.parse(row["timing_key"])
        if engine is not None:
            engine.expect(self._store.waiting(("clip",)))
        device = engine.describe() if engine is not None else None
        warm = device.loaded_checkpoint if device is not None else None
        find = partial(find_checkpoint, self._settings)
        waited = None if _is_there(folder) else (job.started or job.created) - job.created
        follower = Follower(self._meters, job, partial(_device_name, engine), waited, warm)
        recorder = Recorder(
            self._store, job.id, self._process, folder, key, self._later, find, warm, follower, job.started
        )
        wall = job.request.wall is not None
        cancel = RowCancel(
            self._store, job.id, self._process, limit, self._settings.data_dir, wall=wall, since=job.started
        )
        again, far = not row["inline"], max(0, row["reached"] or 0)
        source, needs_result = self._source(job, engine), engine is not None
        return JobRun(source, recorder, cancel, needs_result=needs_result, again=again, reached=far)

    def _source(self, job: Job, engine: Engine | None) -> EventSource:
        def events(folder: Path, cancel: CancelToken) -> Iterator[Event]:
            if engine is None:
                return self._fetch(job.request.checkpoint, cancel)
            made = Progress(folder).result(job.request)
            if made is not None:  # only the word that it is finished was lost
                return iter([Finished(result=made)])
            with disk_full():
                folder.mkdir(parents=True, exist_ok=True)
            make = engine.make_still if job.kind == "still" else engine.generate
            return make(job.request, folder, cancel)

        return events

    def _fetch(self, id: str, cancel: CancelToken) -> Iterator[Event]:
        if id == TEXT_TO_IMAGE:
            return self._hub.fetch_text_to_image(cancel)
        return self._hub.fetch(find_checkpoint(self._settings, id), cancel)


def _is_there(folder: Path) -> bool:
    """A disk that does not answer at the moment says so when the folder is made, as the job's own error."""
    try:
        return folder.exists()
    except OSError:
        return False


def _device_name(engine: Engine | None) -> str:
    device = engine.describe() if engine is not None else None
    return "" if device is None else device.id or device.kind


def room(folder: Path) -> float:
    """Free bytes on the disk of ``folder``; plenty where nobody can tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("inf")


def give_up(store: Store, process: str, id: str) -> None:
    """End a claimed row that nobody can run."""
    error = Unexpected(detail="the job's row in the history is damaged")
    text = json.dumps(error.to_dict())
    with contextlib.suppress(SvdUiError):
        store.settle(id, process, state="failed", message=error.message, error=text, ended=time.time())
