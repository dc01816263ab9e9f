"""The parent's handle on a worker process: messages out, messages in, and how it died."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..settings import REPOSITORY
from .logs import WorkerLog
from .messages import Described

_FAREWELL = 2.0


class Child:
    """One process. ``messages`` ends with None when it is gone.

    Between jobs nobody drains ``messages``; what the device is then arrives through ``on_described``.
    """

    def __init__(self, log: Path, secrets: Iterable[str], on_described: Callable[[Described], None]) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
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
                if isinstance(message, Described):
                    self._on_described(message)
                else:
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
