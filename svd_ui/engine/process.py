"""The worker's side of the pipe: ``python -m svd_ui.engine.process``, started by ``worker.py``.

The messages of ``messages.py`` are pickled to the standard streams, so whatever a library prints goes to
the log instead. The end of the input means that the parent is gone.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

from ..errors import Cancelled, SvdUiError
from . import Engine
from .failures import mapped
from .messages import Cancel, Described, Done, Said, Start, Work


class Inbox(threading.Thread):
    """Reads the parent's messages, so that a cancel is seen while a job runs and the parent's end too."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(name="svd-ui-inbox", daemon=True)
        self.work: queue.Queue[tuple[Work, threading.Event]] = queue.Queue()
        self._stream = stream

    def run(self) -> None:
        current: tuple[int, threading.Event] | None = None
        while True:
            try:
                message = pickle.load(self._stream)
            except Exception:
                os._exit(0)  # nobody is left to work for, and a job cannot be asked to hurry
            if isinstance(message, Work):
                current = (message.number, threading.Event())
                self.work.put((message, current[1]))
            elif isinstance(message, Cancel) and current is not None and current[0] == message.number:
                current[1].set()


class Outbox:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def send(self, message: object) -> None:
        pickle.dump(message, self._stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._stream.flush()


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """Private copies of stdin and stdout; afterwards stdin is empty and stdout goes to stderr, the log."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return incoming, outgoing


def _events(engine: Engine, work: Work, cancel: threading.Event) -> Iterator[Any]:
    call = getattr(engine, work.method)
    if not work.streams:
        call(*work.args)
        return
    yield from call(*work.args, cancel)


def _perform(engine: Engine, work: Work, cancel: threading.Event, outbox: Outbox) -> None:
    stage = ""
    try:
        for event in _events(engine, work, cancel):
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
    outbox.send(Done(work.number, error))


def _look(engine: Engine) -> Described:
    """The device, or what is wrong with it: a setting that does not fit is told by every job, and is no crash."""
    try:
        return Described(engine.describe())
    except SvdUiError as error:
        return Described(None, error.message)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to the parent, which says how to stop
    incoming, outgoing = _streams()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    start: Start = pickle.load(incoming)
    inbox, outbox = Inbox(incoming), Outbox(outgoing)
    inbox.start()
    engine = start.factory(start.settings, start.device)
    outbox.send(_look(engine))
    ready = False
    while True:
        if not ready and inbox.work.empty():  # never before a clip that waits: it imports what it needs itself
            engine.prepare(None)
            outbox.send(_look(engine))
            ready = True
        work, cancel = inbox.work.get()
        _perform(engine, work, cancel, outbox)


if __name__ == "__main__":
    main()
