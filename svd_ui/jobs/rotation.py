"""The devices of this process: which of them take jobs, and which rest because their workers died.

A worker that dies ``STRIKES`` times in a row, its jobs no further than before, has a device that is broken or a machine that
is short of something. It rests then, longer each time, and is tried without a job before it gets one again. Meanwhile the
others work. A job that died on one device goes to another one, as long as there is one that takes jobs.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..engine import CancelToken, Device, Engine
from ..errors import Cancelled, SvdUiError, WorkerStopped
from ..request import Frozen

STRIKES = 3
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0
"""Seconds of the first rest; each that follows without a job that went well is twice as long, up to the other."""
REMEMBERED = 256
"""Jobs of which it is known that they died on a device."""

Doing = Literal["starting", "free", "working", "resting"]


class DeviceState(Frozen):
    """One device as people see it. ``name`` is as the settings have it, ``device`` None while it is not known.

    ``job`` is the id of the job it works on. ``why`` it rests, until about ``back`` (seconds since 1970).
    """

    name: str
    doing: Doing = "starting"
    device: Device | None = None
    job: str | None = None
    why: str = ""
    back: float | None = None


def in_words(state: DeviceState, now: float | None = None) -> str:
    """What a device does, for people: ``resting, tried again in 4 min: CUDA error``. ``now``: seconds since 1970."""
    if state.doing != "resting":
        return {"starting": "starting", "free": "idle", "working": "making a clip"}[state.doing]
    left = (state.back or 0.0) - (time.time() if now is None else now)
    again = f"{math.ceil(left / 60)} min" if left > 90 else f"{max(1, round(left))} s"
    when = f", tried again in {again}" if left > 0 else ", being tried again" if state.back else ""
    return f"resting{when}: {state.why}" if state.why else f"resting{when}"


def plain(state: DeviceState, *, why: bool = True) -> dict[str, Any]:
    """A device as JSON for programs; ``why``: with the reason why it rests, and the job it works on."""
    device, said = state.device, state.model_dump(mode="json", include={"name", "doing", "back"})
    if why:
        said |= {"why": state.why, "job": state.job}
    if device is not None:
        said |= {"device": device.name, "kind": device.kind, "loaded_checkpoint": device.loaded_checkpoint}
        said |= {"total_bytes": device.total_bytes, "free_bytes": device.free_bytes}
        said |= {"second": device.second.name} if device.second is not None else {}
    return said


class Seat:
    """One engine, and whether it takes jobs. Thread-safe: one slot uses it, anybody looks."""

    def __init__(self, name: str, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.engine = name, engine
        self.job: str | None = None
        self._clock = clock
        self._strikes, self._pause = 0, FIRST_PAUSE
        self._why, self._until = "", 0.0
        self._untried = False
        self._died_here: OrderedDict[str, None] = OrderedDict()

    # What happened

    def began(self, job: str) -> None:
        self.job = job

    def ended(self, job: str, died: WorkerStopped | None, headway: bool) -> None:
        """``died`` is what the worker died of, ``headway`` whether the job came further than it ever had."""
        self.job = None
        if died is None:
            if headway:
                self._strikes, self._pause, self._why = 0, FIRST_PAUSE, ""
                self._died_here.clear()
            return
        self._died_here[job] = None
        if len(self._died_here) > REMEMBERED:
            self._died_here.popitem(last=False)
        self._strikes = 0 if headway else self._strikes + 1
        if self._strikes >= STRIKES:
            self.rest(reason_of(died))

    def rest(self, why: str) -> None:
        """Take no jobs for a while, longer than the last time; then be tried without one."""
        self._why, self._untried = why, True
        self._until = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def tried(self, cancel: CancelToken) -> bool:
        """Whether the device works, after a rest: asked of its engine, where that can tell; else it rests on."""
        if not self._untried:
            return True
        try:
            probe: Callable[[CancelToken], object] = getattr(self.engine, "probe", lambda cancel: None)
            probe(cancel)
        except Cancelled:  # the app closes
            return False
        except SvdUiError as error:
            self.rest(reason_of(error))
            return False
        self._untried, self._why = False, ""
        return True

    # What is known

    @property
    def rests(self) -> bool:
        return self._clock() < self._until

    @property
    def trouble(self) -> str:
        """Why the engine cannot use its device at all, as far as it says so."""
        return str(getattr(self.engine, "trouble", ""))

    @property
    def starting(self) -> bool:
        """Whether its process lives and has not said yet what it works on."""
        return self.engine.describe() is None and not self.trouble and getattr(self.engine, "pid", None) is not None

    @property
    def usable(self) -> bool:
        return not (self.rests or self._untried or self.trouble)

    @property
    def died_here(self) -> list[str]:
        return list(self._died_here)

    @property
    def state(self) -> DeviceState:
        device, resting = self.engine.describe(), self.rests or self._untried
        doing: Doing = (
            "working" if self.job else "resting" if resting or self.trouble else "free" if device else "starting"
        )
        left = self._until - self._clock()
        return DeviceState(
            name=device.place if device is not None and device.place and self.name == "auto" else self.name,
            doing=doing,
            device=device,
            job=self.job,
            why=(self._why or self.trouble) if doing == "resting" else "",
            back=time.time() + left if resting and left > 0 else None,
        )


class Rotation:
    """The seats of one process."""

    def __init__(self, engines: Sequence[Engine], names: Sequence[str] = ()) -> None:
        """``names`` of the engines, in their order; those their devices have where none are given."""
        self._changing = threading.Lock()
        self.seats: tuple[Seat, ...] = ()
        for number, engine in enumerate(engines):
            self.add(names[number] if number < len(names) else "auto", engine)

    def add(self, name: str, engine: Engine) -> Seat:
        seat = Seat(name, engine)
        with self._changing:
            self.seats = (*self.seats, seat)
        return seat

    def may_take(self, seat: Seat, cancel: CancelToken) -> bool:
        """Whether the slot of ``seat`` may claim a job now. One that rested is tried first, which takes seconds."""
        if seat.rests or not seat.tried(cancel):
            return False
        others = [other for other in self.seats if other is not seat]
        if seat.trouble and any(not other.trouble for other in others):
            seat.rest(seat.trouble)
            return False
        # Where none can be used, jobs are taken all the same: they say why.
        return not (others and seat.starting)

    def not_for(self, seat: Seat) -> list[str]:
        """Jobs that died on ``seat`` and that another one may take, on which they did not die."""
        others = [other.died_here for other in self.seats if other is not seat and other.usable]
        return [job for job in seat.died_here if any(job not in died for died in others)]

    def likely(self, checkpoint: str | None = None) -> Seat | None:
        """Who would take the next job: a free one before a busy one, before one that rests; with ``checkpoint`` in memory."""

        def order(seat: Seat) -> tuple[Any, ...]:
            device = seat.engine.describe()
            cold = checkpoint is not None and (device is None or device.loaded_checkpoint != checkpoint)
            return not seat.usable, device is None, seat.job is not None, cold

        return min(self.seats, key=order, default=None)

    @property
    def taking(self) -> int:
        """How many take jobs."""
        return sum(seat.usable for seat in self.seats)


def reason_of(error: SvdUiError) -> str:
    """What a device rests for, as it goes into a sentence."""
    return str(error.params.get("reason") or error.message).rstrip(".")
