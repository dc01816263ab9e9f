"""The app in processes of its own, as its user starts it, with somebody else's packages installed or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from svd_ui.settings import REPOSITORY
from svd_ui.web import free_port
from tests.fakes import picture

HERE = Path(__file__).parent
QUICK = ["--num-frames", "4", "--num-inference-steps", "2", "--seed", "1", "--checkpoint", "nano"]
FILM = 15
"""Frames that ``QUICK`` makes: of 4 key frames, 5 a second, played at 24."""


@dataclass(frozen=True)
class App:
    """One data folder. ``sites`` are folders in which packages are installed."""

    folder: Path
    sites: tuple[Path, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (REPOSITORY, *self.sites)))
        own = {"PYTHONPATH": path, "SVD_UI_DATA_DIR": str(self.folder / "data"), "SVD_UI_CHECKPOINT": "nano"}
        return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **own, **dict(self.more)}

    def __call__(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """``python -m svd_ui`` with these arguments; it has to leave with ``code``."""
        return self.python("-m", "svd_ui", *arguments, code=code)

    def python(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == code, done.stderr[-3000:]
        return done

    def facts(self, source: str) -> Any:
        """What ``source`` leaves in ``facts``, computed in such a process."""
        return json.loads(self.python("-c", f"import json\n{source}\nprint(json.dumps(facts))").stdout)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    picture(0.5).resize((320, 200)).save(path)
    return path


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """With the package ``stranger``."""
    return App(tmp_path_factory.mktemp("app"), (HERE / "site",))


@contextmanager
def serving(app: App) -> Iterator[str]:
    """The address of the page; commands on the same data folder have their clips made there meanwhile."""
    port = free_port("127.0.0.1", 7900 + os.getpid() % 1000)
    command = [sys.executable, "-m", "svd_ui", "serve", "--no-open", "--port", str(port)]
    log = (app.folder / "serve.log").open("w")
    process = subprocess.Popen(command, cwd=app.folder, env=app.environment(), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 200
        while not answers(url):
            assert process.poll() is None, (app.folder / "serve.log").read_text()
            assert time.monotonic() < end, "the page does not answer"
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False
