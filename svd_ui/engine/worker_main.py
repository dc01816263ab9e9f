"""The worker's side of the pipe: ``python -m svd_ui.engine.worker_main``, started by ``worker.py``.

The messages of ``messages.py`` are pickled to the standard streams, so whatever a library prints goes to
the log instead. The end of the input means that the parent is gone.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import IO, Any

from ..errors import Cancelled, SvdUiError
from ..logs import bound, set_up
from ..settings import Settings
from . import Engine
from .error_mapping import mapped
from .telemetry import stages
from .worker_handle import Alive, Cancel, Described, Done, LeaveOut, Said, Start, Work

log = logging.getLogger("svd_ui.engine.worker_main")  # which runs as __main__
BEAT_SECONDS = 5.0
_MOMENT = 0.25
"""Seconds that a clip has to arrive once its caller knows the device; the worker gets ready for later clips after it."""


class Inbox(threading.Thread):
    """Reads the parent's messages, so that a cancel is seen while a job runs and the parent's end too."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(name="svd-ui-inbox", daemon=True)
        self.work: queue.Queue[tuple[Work, Stop]] = queue.Queue()
        self._stream = stream

    def run(self) -> None:
        current: tuple[int, Stop] | None = None
        while True:
            try:
                message = pickle.load(self._stream)
            except Exception:
                os._exit(0)  # nobody is left to work for, and a job cannot be asked to hurry
            if isinstance(message, Work):
                current = (message.number, Stop())
                self.work.put((message, current[1]))
            elif isinstance(message, Cancel) and current is not None and current[0] == message.number:
                current[1].set()
            elif isinstance(message, LeaveOut) and current is not None and current[0] == message.number:
                current[1].places = message.places


class Stop(threading.Event):
    """The parent's cancel of one job, and the tiles of a wall that it no longer wants."""

    places: frozenset[int] = frozenset()

    def left_out(self) -> frozenset[int]:
        return self.places


class Outbox:
    """Writes whole messages, from any thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._stream.write(data)
            self._stream.flush()

    def beat(self) -> None:
        """Say all the time that this process lives."""
        while True:
            time.sleep(BEAT_SECONDS)
            try:
                self.send(Alive())
            except OSError:  # the parent is gone, which the inbox sees to
                return


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """Private copies of stdin and stdout; afterwards stdin is empty and stdout goes to stderr, the log."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return incoming, outgoing


def _events(engine: Engine, work: Work, cancel: threading.Event) -> Generator[Any, None, Any]:
    call = _probe(engine) if work.method == "probe" else getattr(engine, work.method)
    if not work.streams:
        return call(*work.args)
    engine.expect(work.waiting)
    began = time.monotonic()
    log.info("job began in the worker")
    with stages(work.trace) as spans:
        for event in call(*work.args, cancel):
            spans.see(event)
            yield event
    log.info("job left the worker", extra={"seconds": round(time.monotonic() - began, 3)})
    return None


def _probe(engine: Engine) -> Callable[..., Any]:
    """Not every engine has a device that can fail it."""
    return getattr(engine, "probe", lambda: None)


def _perform(engine: Engine, work: Work, cancel: threading.Event, outbox: Outbox) -> None:
    stage, answer = "", None
    events = _events(engine, work, cancel)
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                answer = end.value
                break
            outbox.send(Said(work.number, event))
            if event.stage != stage:
                stage = event.stage
                outbox.send(_look(engine))
            if cancel.is_set() and stage != "finished":
                raise Cancelled()
        error: Exception | None = None
    except Exception as failure:
        error = mapped(failure, work.method.replace("_", " "))
    outbox.send(_look(engine))
    outbox.send(Done(work.number, error, answer))


def _look(engine: Engine) -> Described:
    """The device, or what is wrong with it: a setting that does not fit is told by every job, and is no crash."""
    try:
        return Described(engine.describe())
    except SvdUiError as error:
        return Described(None, error.message)


def _keep_compiled(settings: Settings) -> None:
    """What torch.compile makes stays in the data folder. PyTorch reads these variables when it is imported."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.compiled_dir))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to the parent, which says how to stop
    incoming, outgoing = _streams()
    start: Start = pickle.load(incoming)
    set_up(start.settings.log_format, logging.INFO)
    _keep_compiled(start.settings)
    inbox, outbox = Inbox(incoming), Outbox(outgoing)
    inbox.start()
    threading.Thread(target=outbox.beat, name="svd-ui-pulse", daemon=True).start()
    engine = start.factory(start.settings, start.device)
    outbox.send(_look(engine))
    ready = False
    while True:
        try:  # a clip that waits comes first: it imports what it needs itself
            work, cancel = inbox.work.get(timeout=None if ready else _MOMENT)
        except queue.Empty:
            engine.prepare(None)
            outbox.send(_look(engine))
            ready = True
        else:
            with bound(job=work.job) if work.job else nullcontext():
                _perform(engine, work, cancel, outbox)


if __name__ == "__main__":
    main()
