"""Which processes are alive: a row with a heartbeat for each, kept by one thread.

Only jobs of an expired lease are put back into the queue. A lease is expired when its process is known to be gone
(same machine, no such pid), or when its heartbeat has not changed for ``LEASE_SECONDS`` of the observer's
own monotonic clock: clocks that jump and laptops that sleep expire nobody.

What is done beside the work is done with every beat (``Housekeeping``): jobs of expired leases, deleted jobs whose hour
is over, pictures without a job, last words.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from ..assets import Assets
from ..engine.progress import KEPT, Progress
from ..errors import Interrupted, SvdUiError
from ..pictures import pictures
from ..settings import Settings
from .database import Database, Row, warn
from .following import Meter
from .retention import Rule, Surplus, surplus
from .rotation import DeviceState
from .rows import read_request, read_result
from .store import Store

log = logging.getLogger(__name__)
LEASE_SECONDS = 15.0
BEAT_SECONDS = 2.0
UNDELETE_SECONDS = 3600.0
PURGE_EVERY = 60.0
ORPHAN_SECONDS = 24 * 3600.0
SWEEP_EVERY = 3600.0
RESERVE_NEEDS = 64_000_000
STATES = TypeAdapter(tuple[DeviceState, ...])


class Lease:
    """This process in the table. ``start`` begins to beat; ``each_beat`` is called after every beat.

    ``describe`` tells the devices to show to other processes, ``slots`` how many of them take jobs; neither may block.
    """

    def __init__(
        self,
        database: Database,
        role: str,
        slots: Callable[[], int] = lambda: 0,
        seconds: float = LEASE_SECONDS,
        describe: Callable[[], Sequence[DeviceState]] = tuple,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.role, self.slots, self.seconds = role, slots, seconds
        self._database, self._describe = database, describe
        self._seen: dict[str, tuple[float, float]] = {}
        self._looked = -math.inf
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._beside: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self, each_beat: Callable[[], None] = lambda: None) -> None:
        self.beat()
        # Two: sweeping a large folder takes longer than a lease, and others would take this process for dead.
        self._thread = threading.Thread(target=self._run, args=(self.beat,), name="svd-ui-lease", daemon=True)
        self._beside = threading.Thread(target=self._run, args=(each_beat,), name="svd-ui-housekeeping", daemon=True)
        self._thread.start()
        self._beside.start()

    def _run(self, what: Callable[[], None]) -> None:
        said = ""  # a full disk is said once, not with every beat
        while not self._stop.wait(min(BEAT_SECONDS, self.seconds / 4)):
            try:
                what()
                said = ""
            except SvdUiError as error:  # a full disk, say: the next beat tries again
                if error.code != said:
                    warn(log, "housekeeping", error)
                said = error.code
            except Exception:
                log.exception("housekeeping failed; it goes on")

    def beat(self) -> None:
        """Say that this process is alive, and what its devices do."""
        states = self._describe()
        shown = STATES.dump_json(tuple(states)).decode() if states else None
        with self._database.write(alone=False) as sql:
            sql.execute(
                "INSERT INTO processes (id, pid, host, role, slots, device, heartbeat)"
                f" VALUES (?, ?, ?, ?, ?, ?, {self._database.clock})"
                " ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat, device = excluded.device,"
                " slots = excluded.slots",
                (self.id, os.getpid(), host(), self.role, self.slots(), shown),
            )

    def expired(self) -> list[str]:
        """Leases of others that ran out."""
        now, gone = time.monotonic(), []
        if now - self._looked > self.seconds / 2:  # it saw nothing for a while: silence is to be observed anew
            self._seen = {}
        self._looked = now
        rows = self._database.read("SELECT id, pid, host, heartbeat FROM processes WHERE id != ?", (self.id,))
        seen: dict[str, tuple[float, float]] = {}
        for row in rows:
            beat, since = self._seen.get(row["id"], (None, now))
            seen[row["id"]] = (row["heartbeat"], since if beat == row["heartbeat"] else now)
            if is_gone(row["host"], row["pid"]) or now - seen[row["id"]][1] > self.seconds:
                gone.append(row["id"])
        self._seen = seen
        return gone

    def forget(self, ids: list[str]) -> None:
        with self._database.write(alone=False) as sql:
            sql.executemany("DELETE FROM processes WHERE id = ?", [(id,) for id in ids])

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            for thread in filter(None, (self._beside, self._thread)):
                thread.join(timeout=10)
            with contextlib.suppress(SvdUiError):
                self.forget([self.id])


def host() -> str:
    """Names the set of processes among which a pid means something: the machine since it started, and its pid namespace.

    Machines of a cluster may well have one name.
    """
    space = boot = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    return f"{platform.node()} {space} {boot}".strip()


def is_gone(where: str, pid: int) -> bool:
    """True only when the process certainly does not exist any more."""
    if where != host():
        return False
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def live(database: Database, role: str = "server") -> list[tuple[DeviceState, ...]]:
    """The devices of each process of this role that beat lately; nothing where they are not yet known."""
    rows = database.read(
        f"SELECT pid, host, device FROM processes WHERE role = ? AND heartbeat > {database.clock} - ?",
        (role, LEASE_SECONDS),
    )
    return [_states(row["device"]) for row in rows if not is_gone(row["host"], row["pid"])]


def _states(text: str | None) -> tuple[DeviceState, ...]:
    """A process of another release may tell of its devices in another way."""
    try:
        return STATES.validate_json(text) if text else ()
    except ValidationError:
        return ()


def total_slots(database: Database) -> int:
    """How many clips are made at the same time, all processes together; at least 1."""
    rows = database.read(
        f"SELECT SUM(slots) AS slots FROM processes WHERE heartbeat > {database.clock} - ?", (LEASE_SECONDS,)
    )
    return max(1, int(rows[0]["slots"] or 0))


class Housekeeping:
    """Called with every beat of the lease; each part may fail and is tried again with a later one."""

    def __init__(self, settings: Settings, store: Store, lease: Lease, meters: Sequence[Meter] = ()) -> None:
        self._meters = meters
        self._settings, self._store, self._lease, self._assets = settings, store, lease, Assets.of(settings)
        self._unsaved: deque[Callable[[], object]] = deque()
        self._next_purge = self._next_sweep = 0.0

    def __call__(self) -> None:
        self.save()
        self.reap()
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_EVERY
            self.purge(time.time() - UNDELETE_SECONDS)
            if shutil.disk_usage(self._settings.data_dir).free > RESERVE_NEEDS:
                self._store.database.keep_reserve()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_EVERY
            self.sweep(time.time() - ORPHAN_SECONDS)
            self.sweep_kept(time.time() - ORPHAN_SECONDS)
            self.prune(Rule.of(self._settings))

    def later(self, write: Callable[[], object]) -> None:
        """Keep a write that failed, to be tried with the next beats."""
        self._unsaved.append(write)

    def save(self) -> None:
        while self._unsaved:
            write = self._unsaved[0]
            write()
            with contextlib.suppress(ValueError):  # the other thread that saves was quicker
                self._unsaved.remove(write)

    def reap(self) -> None:
        """Jobs of processes that are gone wait again, in their old places."""
        expired = self._lease.expired()
        for process in [*expired, *self._store.without_process()]:
            # Who has no lease may only have been taken for dead, and work: that is nobody's death.
            died = Interrupted() if process in expired else None
            for row in self._store.waitlist.put_back(process, died=died):
                log.warning("job %s was left by a process that is gone, after step %s", row["id"], row["step"])
                for meter in self._meters:
                    meter.died(row["kind"], Interrupted.code)
        if expired:
            self._lease.forget(expired)

    def purge(self, before: float) -> None:
        """Remove the rows and files of jobs deleted before this time, and pictures nobody else uses."""
        refs: set[str] = set()
        for row in self._store.deleted_before(before):
            if self._store.purge(row["id"]):
                refs |= _pictures(row)
                for folder in (self._settings.jobs_dir, self._settings.data_dir / "uploads" / "jobs"):  # handed out
                    shutil.rmtree(folder / row["id"], ignore_errors=True)
        if refs:
            self._remove_pictures([found for found in self._assets.last_used(0.0, before) if found[0] in refs], before)

    def prune(self, rule: Rule, dry_run: bool = False) -> Surplus:
        """Delete what ``rule`` leaves no room for, files and all; what that is, or with ``dry_run`` would be."""
        now = time.time()
        found = surplus(self._store, self._settings.jobs_dir, rule, now)
        if found.ids and not dry_run:
            for id in found.ids:
                self._store.set_deleted(id, now - UNDELETE_SECONDS - 1)
            self.purge(now - UNDELETE_SECONDS)
            log.warning("%s clips were deleted: more than is to be kept", len(found.ids))
        return found

    def sweep(self, before: float) -> None:
        """Remove pictures last used before this time that never became a job: whoever may upload could fill the disk.

        What is older than this history may belong to another one that was put aside, and stays.
        """
        since = self._store.first_created()
        if since is not None:
            self._remove_pictures(list(self._assets.last_used(since - UNDELETE_SECONDS, before)), before)

    def sweep_kept(self, before: float) -> None:
        """Remove what is still kept of jobs that ended before this time: nobody went on from it."""
        ids = [path.parent.name for path in self._settings.jobs_dir.glob(f"*/{KEPT}")]
        for id in self._store.ended_before(ids, before):
            Progress(self._settings.jobs_dir / id).clear()

    def _remove_pictures(self, found: list[tuple[str, Path]], before: float) -> None:
        """Unless a job names one, or it came into use meanwhile: it may be on somebody's page."""
        named = self._store.pictures() if found else set()
        for ref, path in found:
            with contextlib.suppress(OSError):
                if ref not in named and path.stat().st_mtime < before:
                    path.unlink()


def _pictures(row: Row) -> set[str]:
    request, _ = read_request(row["request"], row["schema"])
    result = read_result(row["result"], row["schema"])
    refs = {ref for _, ref in pictures(request)}
    if result is not None:
        refs |= {result.image, *(ref for _, ref in pictures(result.request))}
        refs |= {result.last_frame} if result.last_frame else set()
    return refs
