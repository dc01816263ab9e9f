"""From a fresh clone to a finished first clip: commands, clicks and seconds, as a newcomer without a GPU meets them.

    python -m benchmarks.first_clip                 clones this checkout's last commit, runs `sh scripts/run` in it twice
    python -m benchmarks.first_clip --no-warm-up    the packages come from wherever pip finds them, not from its cache

The first start makes .venv from packages that an earlier clone has brought into pip's cache; the second finds it made. In
both, Chromium opens the address, picks the first example and presses Animate; every real click is counted by the page.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svd_ui.settings import REPOSITORY

from . import report
from .report import Row

MOST_CLICKS = 3
READY = "SVD UI is at "
"""What the app prints once the page answers; the address follows."""
MARKS = {
    "making .venv": "making the environment",
    "installing torch": "installing PyTorch",
    "installing what": "installing the other packages",
    READY: "ready",
}
"""Words of ``scripts/bootstrap.sh`` and of the app => the part of the first start that they begin."""
WAIT = 600.0
COUNT_CLICKS = (
    "addEventListener('click', (event) => { if (event.isTrusted) window.clicks = (window.clicks || 0) + 1; }, true)"
)


@dataclass(frozen=True)
class Visit:
    """What one start cost. ``parts``: (what, seconds) of the start; ``shown`` and ``made`` count from the address on."""

    parts: tuple[tuple[str, float], ...]
    ready: float
    shown: float
    made: float
    clicks: int


def parts_of(said: Iterable[tuple[float, str]]) -> tuple[tuple[str, float], ...]:
    """(seconds since the command, line) of everything that was printed => how long each part took, in order.

    What comes before the first mark, and after the last, is the start of the app.
    """
    begun = [(0.0, "starting the app")]
    for at, line in said:
        begun += [(at, part) for mark, part in MARKS.items() if mark in line and part != begun[-1][1]]
    ends = [at for at, _ in begun[1:]]
    spent: dict[str, float] = {}
    for (start, part), end in zip(begun, ends, strict=False):
        spent[part] = spent.get(part, 0.0) + end - start
    return tuple(spent.items())


def rows_of(first: Visit, later: Visit) -> list[Row]:
    """The figures of a first start and of a later one."""
    made = [Row("commands", 1, note="sh scripts/run"), Row("clicks", first.clicks, at_most=MOST_CLICKS)]
    made += [Row(f"first start, {part}", seconds, "s") for part, seconds in first.parts]
    for name, visit in (("first start", first), ("later start", later)):
        made += [
            Row(f"{name}, command to address", visit.ready, "s"),
            Row(f"{name}, address to page", visit.shown, "s"),
            Row(f"{name}, page to clip that plays", visit.made, "s"),
            Row(f"{name}, command to clip", visit.ready + visit.shown + visit.made, "s"),
        ]
    return made


class App:
    """`sh scripts/run` (or another command) in ``folder``: what it prints, and when."""

    def __init__(self, folder: Path, data: Path, command: Iterable[str] = ("sh", "scripts/run")) -> None:
        self.said: list[tuple[float, str]] = []
        self._began = time.perf_counter()
        settings = {name: value for name, value in os.environ.items() if not name.startswith("SVD_UI_")}
        self._process = subprocess.Popen(
            [*command, "--no-open", "--port", str(_free_port()), "--data-dir", str(data)],
            cwd=folder,
            env={**settings, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def address(self) -> str:
        """Wait for the page. Raises RuntimeError with the last words where it never comes."""
        end = time.perf_counter() + WAIT
        while not self._ready.wait(0.05):
            if self._process.poll() is not None or time.perf_counter() > end:
                raise RuntimeError("the app did not start:\n" + "\n".join(line for _, line in self.said[-9:]))
        return next(line.partition(READY)[2] for _, line in self.said if READY in line)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append((time.perf_counter() - self._began, line.rstrip()))
            if READY in line:
                self._ready.set()


def visit(app: App, browser: Any) -> Visit:
    """Wait for ``app``, then make its first clip in a fresh profile."""
    address = app.address()
    parts = parts_of(app.said)
    page = patient(browser.new_page())
    page.add_init_script(COUNT_CLICKS)
    began = time.perf_counter()
    page.goto(address)
    example(page).wait_for()
    shown = time.perf_counter()
    make_clip(page)
    made = time.perf_counter()
    clicks = int(page.evaluate("window.clicks"))
    page.close()
    return Visit(parts, sum(seconds for _, seconds in parts), shown - began, made - shown, clicks)


def patient(page: Any) -> Any:
    """``page``, which waits for whatever a slow machine takes."""
    page.set_default_timeout(WAIT * 1000)
    return page


def example(page: Any) -> Any:
    """The first picture offered."""
    return page.locator("[data-act=example]").first


def make_clip(page: Any) -> None:
    """The two clicks of a first clip; returns when it plays."""
    example(page).click()
    page.locator("#finder .exact").wait_for()
    page.click("#animate")
    plays = "() => { const clip = document.querySelector('video.clip'); return clip && clip.readyState > 2; }"
    page.wait_for_function(plays)


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from tests.browser import FLAGS
    from tests.browser import chromium as executable

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        yield browser
        browser.close()


def _clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", REPOSITORY.as_uri(), str(folder)], check=True)
    return folder


def _run(folder: Path, data: Path, browser: Any) -> Visit:
    app = App(folder, data)
    try:
        return visit(app, browser)
    finally:
        app.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--no-warm-up", action="store_true", help="do not fill pip's cache with a clone before")
    given = parser.parse_args()
    from svd_ui.core.devices import describe

    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        root = Path(name)
        if not given.no_warm_up:
            subprocess.run(["sh", "scripts/install"], cwd=_clone(root / "before"), check=True)
        folder = _clone(root / "svd-ui")
        first, later = (_run(folder, root / data, browser) for data in ("first", "later"))
    report.finish("first_clip", describe("cpu").name, rows_of(first, later), given.json)


if __name__ == "__main__":
    main()
