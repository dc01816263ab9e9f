"""The page that ``benchmarks.load``, ``many_jobs`` and ``soak`` ask: a process of its own, as it is served, with a worker beside it.

    python -m benchmarks.page_app DATA PORT [fake | real]

``fake`` makes clips without a model, in a worker process like the real one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from svd_ui.engine import Engine
from svd_ui.network import free_port
from svd_ui.settings import REPOSITORY, Settings

STEPS, STEP_SECONDS = 8, 0.1
STARTS = 180.0
MB = 1e6


def fake(settings: Settings, device: str | None) -> Engine:
    """What the worker runs instead of a model."""
    from tests.fakes import FakeEngine

    return FakeEngine(STEPS, STEP_SECONDS, settings=settings)


def serve(settings: Settings, kind: str) -> None:
    """The page with one worker, until the process is ended."""
    from benchmarks import page_app  # by its name, as the worker finds it
    from svd_ui.engine.worker import WorkerEngine, build_local
    from svd_ui.jobs.service import JobService
    from svd_ui.web import serve as serve_page
    from svd_ui.web import settle

    engine = WorkerEngine(settings, "cpu", factory=page_app.fake if kind == "fake" else build_local)
    with JobService(settings, engine) as jobs:
        engine.start()
        jobs.start()
        demo, url = serve_page(jobs, settings)
        settle()
        print(url, flush=True)
        demo.block_thread()


@dataclass(frozen=True)
class App:
    """A page that is served, and its process."""

    url: str
    process: psutil.Process

    def memory(self) -> float:
        """MB of its own that the page holds."""
        return float(self.process.memory_info().rss) / MB

    def cpu(self) -> float:
        """Seconds that the page has computed."""
        return float(sum(self.process.cpu_times()[:2]))

    def worker(self) -> psutil.Process:
        """Raises RuntimeError where none comes."""
        end = time.monotonic() + STARTS
        while time.monotonic() < end:
            for child in self.process.children():
                if "worker_main" in " ".join(child.cmdline()):
                    return child
            time.sleep(0.2)
        raise RuntimeError("the page has no worker")


@contextmanager
def running(data: Path, kind: str = "fake", nice: int = 0, **settings: str) -> Iterator[App]:
    """A page on ``data``; ``settings`` are variables without their prefix."""
    port = free_port("127.0.0.1", random.randrange(20_000, 30_000))
    env = {**os.environ, **{f"SVD_UI_{name.upper()}": value for name, value in settings.items()}}
    env |= {"GRADIO_TEMP_DIR": str(data / "uploads"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.page_app", str(data), str(port), kind]
    data.mkdir(parents=True, exist_ok=True)
    with (data / "page.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=log, stderr=log)
    seen = psutil.Process(process.pid)
    try:
        seen.nice(nice)
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield App(url, seen)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until clips can be made. Raises SystemExit where that does not happen."""
    end = time.monotonic() + STARTS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{url}/ready", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("the page did not start: see page.log in its folder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=["fake", "real"], nargs="?", default="fake")
    given = parser.parse_args()
    settings = Settings(_env_file=None, data_dir=given.data, port=given.port, devices="cpu")
    serve(settings, given.kind)


if __name__ == "__main__":
    main()
