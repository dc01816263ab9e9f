"""The engine in a process of its own, supervised: whatever happens to it, the caller goes on.

The process is started as ``python -m svd_ui.engine.worker_main`` rather than through ``multiprocessing``, whose
spawn imports the caller's ``__main__`` again and whose events can stay locked when their holder is killed.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import Cancelled, SvdUiError, TookTooLong, WorkerStopped
from ..events import Denoising, Event, Finished, left_out
from ..hub import Hub
from ..request import GenerationRequest
from ..settings import Settings
from . import CancelToken, Device, Engine, Estimate, Timed, device_lock, never, telemetry, waited
from .estimates import estimate
from .worker_handle import Cancel, Child, Described, Done, EngineFactory, LeaveOut, Start, Work

GRACE = 2.0
"""Seconds that a cancelled job has to stop by itself before its process is killed."""
LONGEST_GRACE = 10.0
"""The same where one measured step takes longer: loading the weights again costs more than such a wait."""
HURRY = 1.5
"""The same where the device is wanted back at once and what is kept of the job is enough to go on from."""
BACK = 1.8
"""Seconds in which a device that is wanted back is free: a process that has not let go of its memory by then is ended."""
PROBE_SECONDS = 120.0
"""A new process imports, looks at its device and computes something small within that, or the device is of no use."""
FROZEN_SECONDS = 30.0
"""A process that says nothing for so long, and neither computes nor reads, is replaced; it beats every few seconds."""
_TICK = 0.05


def build_local(settings: Settings, device: str | None) -> Engine:
    """The default factory: what the worker runs."""
    from .local import LocalEngine

    return LocalEngine(settings, device)


class WorkerEngine:
    """``Engine`` over one process, started when first needed and again after it died. Thread-safe; one job at a time."""

    def __init__(
        self,
        settings: Settings,
        device: str | None = None,
        factory: EngineFactory = build_local,
        *,
        replica: str = "",
    ) -> None:
        """``replica`` names one of a cluster, which gave it a device of its own: nothing to lock, and a log of its own."""
        self._settings, self._device_name, self._factory = settings, device, factory
        self._replica = replica
        self._hub = Hub(settings)
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._child: Child | None = None
        self._device: Device | None = None
        self.trouble = ""
        """Why the worker cannot use its device; its jobs fail with the same sentence."""
        self._lost = False
        """Whether it could use it before: then that is no fault of the settings, or of a job."""
        self._numbers = itertools.count(1)
        self._closed = False
        self._wanted_back: float | None = None
        self._waiting = 0
        self._told = threading.Event()

    def start(self) -> None:
        """Start the process now, so that it imports and looks at the device while the page is served."""
        self._ensure()

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("generate", request, out, cancel=cancel)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("make_still", request, out, cancel=cancel)

    def prepare(self, checkpoint: str | None) -> None:
        with self._turn:
            self._answer("prepare", self._ensure(), checkpoint)

    def describe(self) -> Device | None:
        return self._device

    def expect(self, clips: int) -> None:
        self._waiting = clips  # sent along with the next job

    def benchmark(self) -> list[Timed]:
        with self._turn, self._device_to_itself(never()) as (child, _):
            rows: list[Timed] = self._answer("benchmark", child)
        return rows

    def probe(self, cancel: CancelToken) -> None:
        """Let a process that is well look at the device and compute something small on it.

        Raises WorkerStopped, or TookTooLong, with what is wrong with it; Cancelled.
        """
        with self._turn:
            if self.trouble and self._child is not None:
                self._kill(self._child)  # what it could not find when it started it will not find now
            self.trouble = ""
            child = self._ensure()
            self._wait_for_device(child, cancel)
            self._answer("probe", child, seconds=PROBE_SECONDS)
            if self.trouble:
                raise WorkerStopped(reason=self.trouble)

    def estimate(self, request: GenerationRequest) -> Estimate:
        return estimate(self._settings, self._hub, request, self._device)

    def release(self) -> None:
        """Free the device's memory; nothing to do while no process runs, and a running job keeps its own.

        Where a job was just stopped because the device is wanted back, a process that takes too long is ended.
        """
        child = self._child
        if child is None or not child.alive or not self._turn.acquire(blocking=False):
            return
        try:
            since, self._wanted_back = self._wanted_back, None
            if since is None:
                self._answer("release", child)
            else:
                self._let_go(child, since + BACK - time.monotonic())
        finally:
            self._turn.release()

    def _let_go(self, child: Child, seconds: float) -> None:
        ending = threading.Timer(max(0.0, seconds), self._kill, (child,))
        ending.start()
        try:
            self._answer("release", child)
        except WorkerStopped:
            if child.alive:
                raise
        finally:
            ending.cancel()
            ending.join()  # one that has begun ends this process and no later one

    def close(self) -> None:
        self._closed = True
        with self._starting:
            child, self._child = self._child, None
        if child is not None:
            child.close()

    @property
    def pid(self) -> int | None:
        """The process's id while one is alive."""
        return self._child.pid if self._child is not None and self._child.alive else None

    def _stream(self, method: str, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        """Wait for this worker, then for its device, then work."""
        while not self._turn.acquire(timeout=_TICK):
            if cancel.is_set():
                raise Cancelled()
        try:
            with self._device_to_itself(cancel) as (child, seconds):
                yield from waited(seconds)
                number, trace = next(self._numbers), telemetry.carrier_of(out.name)
                work = Work(number, method, (request, out), streams=True, waiting=self._waiting, trace=trace)
                yield from self._exchange(work, cancel, child)
        finally:
            self._turn.release()

    @contextmanager
    def _device_to_itself(self, cancel: CancelToken) -> Iterator[tuple[Child, float]]:
        """The process, alone on its device, and the seconds that others had that: the lock bears the name that the process
        reports, whatever the setting says.
        """
        child = self._ensure()
        self._wait_for_device(child, cancel)
        since = time.monotonic()
        with ExitStack() as stack:
            for id in self._locks():
                stack.enter_context(device_lock(self._settings, id, cancel))
            yield child, time.monotonic() - since

    def _wait_for_device(self, child: Child, cancel: CancelToken) -> None:
        while self._device is None and not self.trouble and child.alive:
            if cancel.is_set():
                raise Cancelled()
            self._told.wait(_TICK)

    def _locks(self) -> list[str | None]:
        """Of its device, or of both: in one order everywhere, so that nobody waits for who waits for them. A replica's device is
        Ray's to give.
        """
        if self._replica:
            return []
        known = self._device
        devices = [] if known is None else [known] if known.second is None else [known, known.second]
        return [*sorted({device.id for device in devices if device.id})] or [self._device_name]

    def _answer(self, method: str, child: Child, *args: Any, seconds: float | None = None) -> Any:
        """Make a call that yields nothing, and wait for what it returns; as ``_exchange``."""
        exchange = self._exchange(Work(next(self._numbers), method, args, streams=False), never(), child, seconds)
        while True:
            try:
                next(exchange)
            except StopIteration as end:
                return end.value

    def _exchange(
        self, work: Work, cancel: CancelToken, child: Child, seconds: float | None = None
    ) -> Generator[Event, None, Any]:
        """Send ``work`` and yield what it says; return its answer. It may take ``seconds``, or as long as a job may.

        Raises its error, ``Cancelled``, ``TookTooLong`` or ``WorkerStopped``.
        """
        patience, silence = Patience(cancel, seconds or self._settings.max_seconds), Silence(child)
        if work.streams:
            self._wanted_back = None
        finished: Finished | None = None
        answer: Any = None
        ended, told = False, frozenset[int]()
        try:
            child.send(work)
            while not ended:
                if not told >= (gone := left_out(cancel)):
                    child.send(LeaveOut(work.number, told := gone))
                if patience.asks_to_stop():
                    self._wanted_back = time.monotonic() if patience.hurries else None
                    child.send(Cancel(work.number))
                if patience.exhausted():
                    child.kill()
                    raise patience.verdict()
                try:
                    message = child.messages.get(timeout=_TICK)
                except queue.Empty:
                    if silence.is_death():
                        child.kill()
                        raise WorkerStopped(reason=f"it did not answer for {FROZEN_SECONDS:.0f} seconds") from None
                    continue
                if message is None:
                    raise patience.verdict() if patience.asked else WorkerStopped(reason=child.obituary())
                if message.number != work.number:
                    continue
                if isinstance(message, Done):
                    ended, answer = True, message.answer
                    if message.error is not None and self._lost:
                        message = replace(message, error=WorkerStopped(reason=self.trouble.rstrip(".")))
                    if isinstance(message.error, WorkerStopped):  # its device is of no use to that process any more
                        self._kill(child)
                    if message.error is not None:
                        raise patience.judged(message.error)
                elif isinstance(message.event, Finished):
                    finished = message.event
                else:
                    patience.heard(message.event)
                    yield message.event
        finally:
            if not ended:  # killed, crashed, or the caller went away in the middle
                self._settle(child, work)
        if finished is not None:
            yield finished
        return answer

    def _settle(self, child: Child, work: Work) -> None:
        """Leave no unfinished job behind: ask it to stop, and end its process if it does not."""
        child.send(Cancel(work.number))
        until = time.monotonic() + GRACE
        while child.alive and (left := until - time.monotonic()) > 0:
            try:
                message = child.messages.get(timeout=left)
            except queue.Empty:
                break
            if message is None:
                break
            if isinstance(message, Done) and message.number == work.number:
                return
        self._kill(child)

    def _kill(self, child: Child) -> None:
        child.kill()
        if self._device is not None:
            self._device = self._device.model_copy(update={"loaded_checkpoint": None})

    def _ensure(self) -> Child:
        with self._starting:
            if self._closed:
                raise WorkerStopped(reason="the app is closing")
            if self._child is None or not self._child.alive:
                self._child = self._spawn()
            return self._child

    def _spawn(self) -> Child:
        name = (self._replica or self._device_name or "device").replace(":", "-")
        secret = self._settings.auth.get_secret_value()
        start = Start(
            factory=self._factory,
            settings=self._settings.model_copy(update={"auth": type(self._settings.auth)("")}),
            device=self._device_name,
        )
        secrets = {part for part in (secret, secret.partition(":")[2]) if part}
        try:
            child = Child(self._settings.logs_dir / f"worker-{name}.log", secrets, on_described=self._described)
        except OSError as error:  # no memory or no files left for another process
            raise WorkerStopped(reason=f"it could not be started: {error.strerror or error}") from error
        child.send(start)
        return child

    def _described(self, message: Described) -> None:
        self._lost = bool(message.trouble) and (self._lost or self._device is not None)
        self._device, self.trouble = message.device, message.trouble
        self._told.set()


class Silence:
    """Whether a process is frozen: it does not beat, and nothing that it does can be seen from outside.

    Counted in moments that this process lived through, since both may have been stopped together.
    """

    def __init__(self, child: Child, clock: Callable[[], float] = time.monotonic) -> None:
        self._child, self._clock = child, clock
        self._looked, self._beats, self._silent = clock(), child.beats, 0.0
        self._effort: tuple[float, ...] | None = None

    def is_death(self) -> bool:
        now, beats = self._clock(), self._child.beats
        self._silent += min(now - self._looked, 1.0)
        self._looked = now
        if beats != self._beats:
            self._beats, self._silent = beats, 0.0
        if self._silent < FROZEN_SECONDS / 2:
            self._effort = None
            return False
        if self._effort is None:
            self._effort = self._child.effort()
        if self._silent < FROZEN_SECONDS:
            return False
        effort, self._silent = self._effort, 0.0
        return self._child.effort() == effort


class Patience:
    """How long a job may still run: until asked to stop, then until its grace is over."""

    def __init__(self, cancel: CancelToken, max_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.asked = False
        self._cancel, self._max_seconds, self._clock = cancel, max_seconds, clock
        self._deadline = clock() + max_seconds
        self._grace = GRACE
        self._until = float("inf")

    def heard(self, event: Event) -> None:
        """A stage that checks its cancel after each step gets the time of one."""
        step = event.seconds if isinstance(event, Denoising) else None
        self._grace = min(max(GRACE, 1.5 * (step or 0.0)), LONGEST_GRACE)

    def asks_to_stop(self) -> bool:
        """True once: when the job was cancelled or its time is over."""
        if self.asked or not (self._cancel.is_set() or self._clock() > self._deadline):
            return False
        self.asked = True
        grace = min(HURRY, self._grace) if self.hurries else self._grace
        self._until = self._clock() + grace
        return True

    @property
    def hurries(self) -> bool:
        """Whether the device is wanted back at once."""
        return self._cancel.is_set() and bool(getattr(self._cancel, "hurries", False))

    def exhausted(self) -> bool:
        return self._clock() > self._until

    def verdict(self) -> SvdUiError:
        """What to say about a job that was asked to stop."""
        return Cancelled() if self._cancel.is_set() else TookTooLong(seconds=int(self._max_seconds))

    def judged(self, error: Exception) -> Exception:
        """The job's own error, or the reason why it was asked to stop."""
        return self.verdict() if isinstance(error, Cancelled) and self.asked else error
