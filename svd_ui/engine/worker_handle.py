"""The parent's handle on a worker process: what they say to each other, its log, and how it died.

Messages are pickles. In: ``Start`` once, then ``Work``, ``Cancel`` and ``LeaveOut``. Out: ``Described`` whenever the device changes,
``Said`` for each event of a job, ``Done`` at its end, ``Alive`` all the time.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

import psutil

from ..errors import SECRET, without_secrets
from ..settings import REPOSITORY, Settings
from . import Device, Engine

_FAREWELL = 2.0
MAX_BYTES, KEPT = 1_000_000, 3
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|AUTH|API_?KEY", re.IGNORECASE)
EngineFactory = Callable[[Settings, str | None], Engine]
"""Builds the engine inside the worker; must be importable there by name."""


@dataclass(frozen=True)
class Start:
    factory: EngineFactory
    settings: Settings
    device: str | None


@dataclass(frozen=True)
class Work:
    """One call of the engine. ``streams``: it takes a request, the job's folder and a cancel token, and yields events.

    ``waiting`` is how many clips are queued behind it, ``trace`` the context of its spans.
    """

    number: int
    method: str
    args: tuple[Any, ...]
    streams: bool
    waiting: int = 0
    trace: Mapping[str, str] = field(default_factory=dict)

    @property
    def job(self) -> str:
        """The id of the job that streams; its folder has the same name."""
        return str(self.args[1].name) if self.streams else ""


@dataclass(frozen=True)
class Cancel:
    number: int


@dataclass(frozen=True)
class LeaveOut:
    """Job ``number``, a wall, goes on without the tiles of these ``places``."""

    number: int
    places: frozenset[int]


@dataclass(frozen=True)
class Described:
    """``trouble`` says why there is no device to describe, such as a name in ``SVD_UI_DEVICES`` that is not here."""

    device: Device | None
    trouble: str = ""


@dataclass(frozen=True)
class Said:
    """An event of job ``number``."""

    number: int
    event: Any


@dataclass(frozen=True)
class Done:
    """Job ``number`` ended; ``error`` is an ``SvdUiError`` or None, ``answer`` what a call that yields nothing returned."""

    number: int
    error: Exception | None = None
    answer: Any = None


@dataclass(frozen=True)
class Alive:
    """Sent every few seconds, whatever the process does."""


class Child:
    """One process. ``messages`` ends with None when it is gone, ``beats`` counts all that it says.

    Between jobs nobody drains ``messages``; what the device is then arrives through ``on_described``.
    """

    def __init__(self, log: Path, secrets: Iterable[str], on_described: Callable[[Described], None]) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.beats = 0
        self._on_described = on_described
        self._log = WorkerLog(log, secrets)
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "svd_ui.engine.worker_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        assert self._process.stderr is not None
        self._follower = self._log.follow(self._process.stderr)
        threading.Thread(target=self._read, name="svd-ui-worker-reader", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def effort(self) -> tuple[float, ...]:
        """What the process has computed and read so far; nothing where the system does not tell."""
        try:
            process = psutil.Process(self.pid)
            read = process.io_counters().read_bytes if hasattr(process, "io_counters") else 0
            return (*process.cpu_times()[:2], read)
        except (psutil.Error, OSError):
            return ()

    def send(self, message: object) -> None:
        """Hand ``message`` over; a process that is gone is noticed by its silence, not here."""
        assert self._process.stdin is not None
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            with self._writing:
                self._process.stdin.write(data)
                self._process.stdin.flush()
        except (OSError, ValueError):
            return

    def kill(self) -> None:
        self._process.kill()
        self._bury()

    def close(self) -> None:
        """Ask it to end by closing its input, and insist after two seconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_FAREWELL)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
        self._bury()

    def obituary(self) -> str:
        """Why the process ended, for people."""
        self._process.wait(_FAREWELL)
        code = self._process.returncode
        if code >= 0:
            return f"exit code {code}; see logs/{self._log.path.name}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"killed by {name}, probably out of memory" if name == "SIGKILL" else f"crashed with {name}"

    def _bury(self) -> None:
        self._process.wait()
        self._follower.join(_FAREWELL)
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while True:
                try:
                    message = pickle.load(stream)
                except (EOFError, pickle.UnpicklingError, OSError):  # its end, perhaps in the middle of a message
                    break
                except Exception as error:  # a message nobody here can read: better no process than a silent one
                    self._log.write(f"unreadable message from the worker: {error!r}")
                    self._process.kill()
                    break
                self.beats += 1
                if isinstance(message, Described):
                    self._on_described(message)
                elif not isinstance(message, Alive):
                    self.messages.put(message)
        self._process.wait()
        self.messages.put(None)


def _environment() -> dict[str, str]:
    """The child finds what the parent finds, answers at once, and explains its crashes."""
    paths = [str(REPOSITORY), *(path for path in sys.path if path)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Values of ``environment`` that must not be written down; a user:password gives its password too."""
    values = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    values |= {value.partition(":")[2] for value in values}
    return {value for value in values if len(value) >= 6 and "/" not in value[:1]}


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with every secret, given or recognised by its form, made unreadable."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, SECRET)
    return without_secrets(text)


class _Lossy(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """On a full disk logging would print a traceback for every line."""


class WorkerLog:
    """Copies a worker's output, line by line, into ``path`` with rotation."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        self.path = path
        self._secrets = secrets_of(os.environ) | set(secrets)
        self._handler: RotatingFileHandler | None = None
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Start a thread that writes ``stream`` down until it ends."""
        thread = threading.Thread(target=self._copy, args=(stream,), name="svd-ui-worker-log", daemon=True)
        thread.start()
        return thread

    def write(self, line: str) -> None:
        """Lost where the folder cannot be written: the worker must not wait for somebody to read what it says."""
        record = logging.makeLogRecord({"msg": redact(line.rstrip("\n"), self._secrets)})
        with self._lock, suppress(OSError):
            if self._handler is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._handler = _Lossy(self.path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
            self._handler.handle(record)

    def close(self) -> None:
        with self._lock:
            if self._handler is not None:
                self._handler.close()
                self._handler = None

    def _copy(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.write(line.decode("utf-8", "replace"))
