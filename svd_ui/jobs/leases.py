"""Which processes are alive: a row with a heartbeat for each, kept by one thread.

Only jobs of an expired lease are interrupted. A lease is expired when its process is known to be gone
(same machine, no such pid), or when its heartbeat has not changed for ``LEASE_SECONDS`` of the observer's
own monotonic clock: clocks that jump and laptops that sleep expire nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable

import psutil

from ..engine import Device
from ..errors import SvdUiError
from .database import Database

log = logging.getLogger(__name__)
LEASE_SECONDS = 15.0
BEAT_SECONDS = 2.0


class Lease:
    """This process in the table. ``start`` begins to beat; ``each_beat`` is called after every beat.

    ``describe`` tells the device to show to other processes; it must not block.
    """

    def __init__(
        self,
        database: Database,
        role: str,
        slots: int = 0,
        seconds: float = LEASE_SECONDS,
        describe: Callable[[], Device | None] = lambda: None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.role, self.slots, self.seconds = role, slots, seconds
        self._database, self._describe = database, describe
        self._seen: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self, each_beat: Callable[[], None] = lambda: None) -> None:
        self.beat()
        self._thread = threading.Thread(target=self._run, args=(each_beat,), name="svd-ui-lease", daemon=True)
        self._thread.start()

    def _run(self, each_beat: Callable[[], None]) -> None:
        while not self._stop.wait(min(BEAT_SECONDS, self.seconds / 4)):
            try:
                self.beat()
                each_beat()
            except SvdUiError as error:  # a full disk, say: the next beat tries again
                log.warning("housekeeping: %s", error)
            except Exception:
                log.exception("housekeeping failed; it goes on")

    def beat(self) -> None:
        """Say that this process is alive, and on which device it works."""
        device = self._describe()
        shown = device.model_dump_json() if device is not None else None
        with self._database.write() as sql:
            sql.execute(
                "INSERT INTO processes (id, pid, host, role, slots, device, heartbeat) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat, device = excluded.device",
                (self.id, os.getpid(), host(), self.role, self.slots, shown, time.time()),
            )

    def expired(self) -> list[str]:
        """Leases of others that ran out."""
        now, gone = time.monotonic(), []
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
        with self._database.write() as sql:
            sql.executemany("DELETE FROM processes WHERE id = ?", [(id,) for id in ids])

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            with contextlib.suppress(SvdUiError):
                self.forget([self.id])


def host() -> str:
    """Names the set of processes among which a pid means something: the machine and its pid namespace."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{platform.node()} {space}".strip()


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


def live(database: Database, role: str = "server") -> list[Device | None]:
    """The devices of the processes of this role that beat lately; None where not yet known."""
    rows = database.read(
        "SELECT pid, host, device FROM processes WHERE role = ? AND heartbeat > ?", (role, time.time() - LEASE_SECONDS)
    )
    return [
        Device.model_validate_json(row["device"]) if row["device"] else None
        for row in rows
        if not is_gone(row["host"], row["pid"])
    ]


def total_slots(database: Database) -> int:
    """How many clips are made at the same time, all processes together; at least 1."""
    rows = database.read(
        "SELECT SUM(slots) AS slots FROM processes WHERE heartbeat > ?", (time.time() - LEASE_SECONDS,)
    )
    return max(1, int(rows[0]["slots"] or 0))
