"""Workers that need not import PyTorch anew: forks of one process that has done so, for benchmarks that start hundreds.

What a fork runs is ``worker_main`` over the same three pipes as ever, and what kills it is the same signal. Linux only.
"""

from __future__ import annotations

import array
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

SOCKET, PID = "forks.socket", "worker.pid"
IMPORTS = (
    "svd_ui.engine.local",
    "svd_ui.engine.worker_main",
    "transformers",
    "diffusers.models.unets.unet_spatio_temporal_condition",
    "diffusers.models.autoencoders.autoencoder_kl_temporal_decoder",
)
_POLL = 0.02


class Fork:
    """What ``subprocess.Popen`` would be for the worker of the app on ``data``."""

    def __init__(self, data: Path) -> None:
        (ours_in, theirs_in), (theirs_out, ours_out), (theirs_err, ours_err) = _pipe_in(), os.pipe(), os.pipe()
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(data.parent / SOCKET))
            fds = array.array("i", [theirs_in, ours_out, ours_err])
            line.sendmsg([b"fork"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            self.pid = int(line.recv(32))
        for fd in (theirs_in, ours_out, ours_err):
            os.close(fd)
        self.stdin: IO[bytes] = os.fdopen(ours_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(theirs_out, "rb")
        self.stderr: IO[bytes] = os.fdopen(theirs_err, "rb")
        self.returncode: int | None = None
        (data / PID).write_text(str(self.pid))

    def poll(self) -> int | None:
        if self.returncode is None and not os.path.exists(f"/proc/{self.pid}"):
            self.returncode = -signal.SIGKILL  # how it ended only its parent knows
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(_POLL)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _pipe_in() -> tuple[int, int]:
    """(our end, their end) of a pipe that we write."""
    reads, writes = os.pipe()
    return writes, reads


def use(data: Path) -> None:
    """From now on workers of this process are forks of the one that ``serving`` started beside ``data``."""
    from svd_ui.engine import worker_handle

    class Processes:
        PIPE, TimeoutExpired = subprocess.PIPE, subprocess.TimeoutExpired

        @staticmethod
        def Popen(*_: Any, **__: Any) -> Fork:
            return Fork(data)

    worker_handle.subprocess = Processes  # type: ignore[assignment]


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The process to fork, ready when this returns; its socket lies in ``folder``."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.forked", str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline().strip() != b"ready":
        raise SystemExit("the process to fork did not start")
    return process


def _serve(folder: Path) -> None:
    for name in IMPORTS:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is gone at once
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / SOCKET))
        door.listen(64)
        print("ready", flush=True)
        while True:
            line, _ = door.accept()
            _, found, _, _ = line.recvmsg(16, socket.CMSG_SPACE(12))
            fds = array.array("i", found[0][2])
            pid = os.fork()
            if pid == 0:
                door.close()
                line.close()
                _work(list(fds))
            for fd in fds:
                os.close(fd)
            line.send(str(pid).encode())
            line.close()


def _work(fds: list[int]) -> None:
    """In the fork: the worker, and nothing after it."""
    from svd_ui.engine.worker_main import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    try:
        main()
    finally:
        os._exit(1)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
