"""A page in a process of its own, and what it took."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from svd_ui.settings import REPOSITORY

START_SECONDS = 120.0


@dataclass(frozen=True)
class Page:
    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def peak_bytes(self) -> int | None:
        """The most memory it ever held; None where the system does not say."""
        return peak_bytes(self.process.pid)


def peak_bytes(pid: int | str = "self") -> int | None:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


@contextmanager
def serving(data: Path, *, public: bool = False) -> Iterator[Page]:
    """Raises RuntimeError where it does not come up."""
    port, log = _free_port(), data / "page.log"
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzz.page", str(data), "--port", str(port)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *(["--public"] if public else [])], cwd=REPOSITORY, env=offline, stdout=file, stderr=file
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait(url, process, log)
        yield Page(url, data, log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"The page did not come up:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
