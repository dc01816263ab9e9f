"""Durable submissions: a request becomes a row, a slot runs it, and everybody reads the same record.

Two drivers share the recording: slots (threads that drain the queue) and ``run_inline`` (in the caller's
thread, for places where background threads may not use the device).
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from ..engine import Device, Engine, Estimate, telemetry
from ..engine.progress import Progress, hand_on
from ..errors import HistoryNewer, NotFound, SvdUiError
from ..events import ENDED
from ..hub import Hub
from ..request import GenerationRequest
from ..settings import Settings
from . import Job, JobKind, stored_name
from .control import MAX_NAME, QueueControl
from .database import Row, warn
from .following import Meter
from .glance import Glance
from .intake import Intake
from .job_run import JobRunner, give_up
from .leases import LEASE_SECONDS, Housekeeping, Lease, live, total_slots
from .queue import CLIPS, DOWNLOADS
from .recording import PREVIEW
from .retention import Rule, Surplus
from .rotation import DeviceState, Rotation, Seat
from .slot import Slot
from .store import Store, open_database
from .timing import Timings
from .timing_key import CountedCosts

log = logging.getLogger(__name__)
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.1


class JobService:
    """Thread-safe; several processes may use the same data folder.

    ``owner`` None means an operator who sees everything (loopback, command line).

    ``queue`` is what people do with what waits.

    ``more`` makes a worker of a device that turns out to be here. ``slots`` says whether ``start`` begins to run jobs here, one
    slot per engine; without, jobs are only submitted and watched, or run by ``run_inline``. With ``inline`` what is submitted is
    run by ``run_waiting``, in the thread of whoever asked for it. The slots also release an engine's device memory after
    ``SVD_UI_IDLE_SECONDS`` without work. ``close`` puts what runs back into the queue, and closes the engines.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine | Sequence[Engine] = (),
        *,
        slots: bool = True,
        inline: bool = False,
        role: Literal["server", "cli", "reader"] = "server",
        hub: Hub | None = None,
        lease_seconds: float = LEASE_SECONDS,
        more: Callable[[str], Engine] | None = None,
    ) -> None:
        self.settings = settings
        self.inline = inline
        engines = tuple(engine) if isinstance(engine, Sequence) else (engine,)
        names = settings.device_entries if len(settings.device_entries) == len(engines) else ()
        self._rotation, self._more = Rotation(engines, names), more
        hub = hub or Hub(settings)
        self._database = open_database(settings)
        self._store = Store(self._database)
        self._timings = Timings(self._database, CountedCosts(settings))
        self._glance = Glance(self._store, self._timings, partial(total_slots, self._database), self._warm)
        taking = (lambda: self._rotation.taking) if slots else (lambda: 0)
        self._lease = Lease(self._database, role, taking, lease_seconds, self._own_devices)
        self.meters: list[Meter] = []
        """Who is told of every job that this process makes."""
        self._housekeeping = Housekeeping(settings, self._store, self._lease, self.meters)
        self._intake = Intake(settings, self._store, hub, self.describe)
        self._runner = JobRunner(settings, self._store, hub, self._lease.id, self._housekeeping.later, self.meters)
        self.queue = QueueControl(self._store, self._intake, self._glance, self._owned, self._wake)
        self._closed = False
        self._starting = threading.Lock()
        self._slots = self._make_slots() if slots else []
        self._housekeeping.reap()

    def _make_slots(self) -> list[Slot]:
        downloads = Slot("svd-ui-downloads", DOWNLOADS, self._store, self._lease.id, self._runner.prepare)
        return [*map(self._slot, () if self.inline else self._rotation.seats), downloads]

    def _slot(self, seat: Seat) -> Slot:
        shared: tuple[Any, ...] = (CLIPS, self._store, self._lease.id, self._runner.prepare)
        idle = self.settings.idle_seconds
        return Slot(f"svd-ui-slot-{seat.name}", *shared, seat=seat, rotation=self._rotation, idle_seconds=idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to run what is queued, also what an earlier process left."""
        self._hold_lease()
        for slot in self._slots:
            slot.start()

    def _hold_lease(self) -> None:
        with self._starting:
            if not self._lease.running:
                self._lease.start(self._each_beat)

    def _each_beat(self) -> None:
        self._housekeeping()
        self._add_others()

    def _add_others(self) -> None:
        """What ``auto`` means besides the first device, once its worker has looked: each gets a worker and a slot."""
        known = {seat.name for seat in self._rotation.seats}
        found = [device.others for seat in self._rotation.seats if (device := seat.engine.describe()) is not None]
        for name in dict.fromkeys(name for others in found for name in others):
            if self._more is None or name in known or self._closed or not self._slots:
                continue
            log.info("%s makes clips too", name)
            slot = self._slot(self._rotation.add(name, self._more(name)))
            self._slots.append(slot)
            slot.start()

    # Jobs

    def submit(
        self, request: GenerationRequest, owner: str, kind: JobKind = "clip", *, name: str = "", batch: str = ""
    ) -> Job:
        """Check, fix the seed, store; raises BadInput or QueueFull. ``kind`` download: see ``download``.

        ``name`` and ``batch`` as in ``Job``.
        """
        if kind == "download":
            return self.download(request.checkpoint, owner)
        return self._submit(request, owner, kind, name=name, batch=batch)

    def _submit(self, request: GenerationRequest, owner: str, kind: JobKind, *, name: str = "", **place: Any) -> Job:
        telemetry.remember(place.setdefault("id", secrets.token_hex(16)))  # before a slot can take it
        id = self._intake.add(request, owner, kind, name=name[:MAX_NAME], max_queue=self.settings.max_queue, **place)
        log.info("job asked for", extra={"job": id, "kind": kind})
        self._wake()
        return self.get(id)

    def download(self, checkpoint_id: str, owner: str) -> Job:
        """A job that fetches weights, beside the clips; the one already under way if there is one.

        ``hub.TEXT_TO_IMAGE`` names the model that makes stills. Raises BadInput for an unknown checkpoint.
        """
        id = self._intake.add_download(checkpoint_id, owner)
        self._wake()
        return self.get(id)

    def get(self, id: str, owner: str | None = None) -> Job:
        """Anyone who knows the id may look. Raises NotFound, also for a deleted job, or one whose row is damaged."""
        return self._one(self._store.row(id))

    def wait(self, id: str, timeout: float = math.inf) -> Job:
        """Block until the job has ended, or for ``timeout`` seconds; returns it as it is then."""
        end = time.monotonic() + timeout
        while (job := self.get(id)).state not in ENDED and time.monotonic() < end:
            time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))
        return job

    def cancel(self, id: str, owner: str | None = None) -> Job:
        """A waiting job ends at once, a running one within a step; an ended one stays as it is."""
        waited = self._owned(id, owner)["state"] == "queued"
        self._store.cancel(id)
        if waited:  # one that runs is seen to by its runner
            Progress(self.settings.jobs_dir / id).clear()
        return self.get(id)

    def batch(self, job: Job) -> list[Job]:
        """All that was asked for together with ``job``, in that order; nothing where it was asked for alone."""
        return self._glance.jobs(self._store.batch(job.batch)) if job.batch else []

    def places(self, jobs: Iterable[Job]) -> dict[str, tuple[int, int]]:
        """id => (which of those asked for together with it, from 1 on, how many these are); jobs asked for alone left out."""
        wanted = list(jobs)
        batches: dict[str, list[str]] = {}
        for row in self._store.together({job.batch for job in wanted if job.batch}):
            batches.setdefault(row["batch"], []).append(row["id"])
        found = {job.id: batches.get(job.batch, []) for job in wanted if job.batch}
        return {id: (ids.index(id) + 1, len(ids)) for id, ids in found.items() if id in ids and len(ids) > 1}

    def cancel_batch(self, id: str, owner: str | None = None) -> None:
        """Cancel what has not ended of the batch of a job, or that job where it was asked for alone."""
        row = self._owned(id, owner)
        if not row["batch"]:
            self._store.cancel(id)
        else:
            self._store.cancel_batch(row["batch"])

    def retry(self, id: str, owner: str, name: str = "") -> Job:
        """A new job with the same request, seed included; of one that failed it goes on from what is kept."""
        job = self.get(id)
        if job.kind == "download" or job.state not in ("failed", "interrupted"):
            return self.submit(job.request, owner, job.kind, name=name)
        again, jobs = secrets.token_hex(16), self.settings.jobs_dir
        hand_on(jobs / id, jobs / again)
        try:
            return self._submit(job.request, owner, job.kind, name=name, id=again)
        except BaseException:
            hand_on(jobs / again, jobs / id)
            raise

    def history(self, owner: str | None = None, limit: int = 24, before: str | None = None) -> list[Job]:
        """Newest first: ``owner``'s, or everybody's for the operator (None)."""
        return self._glance.jobs(self._store.history(owner, limit, before))

    def unfinished(self, owner: str | None = None, ids: Iterable[str] | None = None) -> int:
        """How many clips and stills have not ended: of ``owner``, of ``ids``, everybody's without either."""
        return self._store.unfinished(owner, ids)

    def check(self) -> None:
        """Raises what keeps anybody from writing into the history: it is gone, held, or does not answer."""
        with self._database.write(alone=False, quiet=True):
            pass

    def counted(self) -> dict[tuple[str, str], int]:
        """(kind, state) => how many jobs."""
        return self._store.counted()

    def delete(self, id: str, owner: str | None = None) -> None:
        """Hide at once, stop it if it has not ended; the files go after an hour."""
        self._owned(id, owner)
        self._store.cancel(id)
        self._store.set_deleted(id, time.time())

    def undelete(self, id: str, owner: str | None = None) -> Job:
        self._owned(id, owner, deleted=True)
        self._store.set_deleted(id, None)
        return self.get(id)

    def prune(self, rule: Rule, dry_run: bool = False) -> Surplus:
        """Delete the clips that ``rule`` leaves no room for, for good; what that is, or with ``dry_run`` would be."""
        return self._housekeeping.prune(rule, dry_run)

    def file(self, job: Job, name: str) -> Path | None:
        """The stored file of a result: ``video poster frames animation latents preview``, or ``tile-<index>`` of a wall.

        None if there is none. The name that is stored is checked too: nothing outside of the job's folder is ever given.
        """
        stored = (PREVIEW if job.has_preview else None) if name == "preview" else stored_name(job, name)
        if not stored or Path(stored).name != stored:
            return None
        path = self.settings.jobs_dir / job.id / stored
        return path if path.is_file() else None

    def _owned(self, id: str, owner: str | None, *, deleted: bool = False) -> Row:
        """The row if ``owner`` may change it: its own, or any for the operator (None)."""
        row = self._store.row(id, deleted=deleted)
        if owner is not None and not secrets.compare_digest(owner.encode(), row["owner"].encode()):
            raise NotFound(what="job")
        return row

    def _one(self, row: Row) -> Job:
        found = self._glance.jobs([row])
        if not found:
            raise NotFound(what="job")
        return found[0]

    # The device

    def describe(self) -> Device | None:
        """The device that clips are made for: one of this process, else of a live server; None while none is known.

        One that takes jobs before one that rests. Never blocks.
        """
        states = sorted(self.devices(), key=lambda state: state.doing == "resting")
        return next((state.device for state in states if state.device is not None), None)

    def devices(self) -> tuple[DeviceState, ...]:
        """Every device and what it does: this process's, else those of all live servers. Never blocks."""
        return self._own_devices() or tuple(state for states in live(self._database) for state in states)

    def _own_devices(self) -> tuple[DeviceState, ...]:
        return tuple(seat.state for seat in self._rotation.seats)

    def own_devices(self) -> list[Device]:
        """Those that this process works on, as far as they are known."""
        return [device for seat in self._rotation.seats if (device := seat.engine.describe()) is not None]

    def estimate(self, request: GenerationRequest) -> Estimate:
        """Of the device that would take it, but seconds as measured here for such clips where there are any; waiting left out."""
        seat = self._rotation.likely(request.checkpoint)
        cost = seat.engine.estimate(request) if seat is not None else Estimate()
        key, steps = self._intake.timing_of(request, "clip")
        seconds = self._glance.known().whole(key, steps)
        return cost if seconds is None else cost.model_copy(update={"seconds": seconds, "basis": "measured"})

    def _warm(self) -> str | None:
        device = self.describe()
        return device.loaded_checkpoint if device is not None else None

    def release(self) -> None:
        """Free device memory here, as soon as no job is running."""
        for slot in self._slots:
            slot.release()
        if not self._slots:
            for seat in self._rotation.seats:
                seat.engine.release()

    # Running

    def run_inline(self, request: GenerationRequest, owner: str, kind: JobKind = "clip") -> Iterator[Job]:
        """Run a new job in the caller's thread, past the queue; yields it after each event, ended at last.

        Closing the iterator early, or an interrupt from the keyboard, cancels the job.
        """
        self._hold_lease()
        id = self._intake.add(request, owner, kind, process=self._lease.id, inline=True)
        engine = self._rotation.seats[0].engine if kind != "download" else None
        run = self._runner.prepare(self._store.row(id), engine)
        try:
            yield self._seen(id)
            with closing(run.events()) as events:
                for _ in events:
                    yield self._seen(id)
        finally:
            run.abandon()
        yield self._seen(id)

    def run_waiting(self, owner: str) -> Iterator[Job]:
        """Run what waits of ``owner`` in the caller's thread, one after the other; yields each job after each of its events, and
        ended.

        Closing the iterator early cancels the job that runs. Nothing happens unless the service is ``inline``.
        """
        while self.inline and not self._closed:
            row = self._store.claim(self._lease.id, CLIPS, owner)
            if row is None:
                return
            try:
                run = self._runner.prepare(row, self._rotation.seats[0].engine)
            except (ValueError, TypeError) as error:
                log.warning("job %s: %s", row["id"], error)
                give_up(self._store, self._lease.id, row["id"])
                continue
            except SvdUiError:
                self._store.unclaim(row)
                raise
            try:
                with closing(run.events()) as events:
                    for _ in events:
                        yield self._seen(row["id"])
            finally:
                run.abandon()
            yield self._seen(row["id"])
            if run.ran_full:
                return

    def _seen(self, id: str) -> Job:
        """The job as it is, also where it was deleted meanwhile."""
        return self._one(self._store.row(id, deleted=True))

    def _wake(self) -> None:
        for slot in self._slots:
            slot.wake()

    def close(self) -> None:
        """Stop for good: running jobs go back to their places, and all that wait do so until the next start."""
        if self._closed:
            return
        self._closed = True
        for slot in self._slots:
            slot.stop()
        running = [slot for slot in self._slots if slot.is_alive()]
        for slot in running:
            slot.join(timeout=CLOSE_SECONDS)
        for seat in self._rotation.seats:
            seat.engine.close()
        for slot in running:
            slot.join(timeout=1.0)
        try:
            self._housekeeping.save()
            self._store.waitlist.put_back(self._lease.id)
        except SvdUiError as error:
            warn(log, "closing", error)
        self._lease.close()
        self._database.close()


def open_store(settings: Settings) -> JobService:
    """For those who look, submit and cancel, but run nothing: another process may run what is submitted."""
    return JobService(settings, slots=False, role="reader")


def server_alive(settings: Settings) -> bool:
    """Whether a server with a fresh lease takes jobs from this data folder."""
    if not settings.is_shared and not settings.history_file.is_file():
        return False
    try:
        with closing(open_database(settings)) as database:
            return bool(live(database))
    except HistoryNewer:  # a server of this release would not have it either
        return False
