"""How long until the page is served, against an empty gradio page: `python -m benchmarks.page_ready`.

Each run is a fresh process: import, build, launch, then GET / until it answers 200. The two kinds take turns, so that a
busy machine is equally unkind to both; the limit is on the ratio of the medians. ``--browser`` also measures, in
Chromium, from opening the address to a visible page.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.3
ROOT = Path(__file__).resolve().parent.parent

CLOCK = """
import os, sys, time, urllib.request
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
def ready(url, demo, started):
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200
        answer.read()
    print("READY", time.perf_counter() - started, url, flush=True)
    sys.stdin.readline()
    os._exit(0)
"""
EMPTY = (
    CLOCK
    + """
started = time.perf_counter()
import gradio as gr
with gr.Blocks(analytics_enabled=False) as demo:
    gr.Markdown("Ready", elem_id="animate")
_, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
ready(url, demo, started)
"""
)
OURS = (
    CLOCK
    + """
started = time.perf_counter()
from pathlib import Path
from svd_ui.settings import Settings
from svd_ui.jobs.service import JobService
from svd_ui.web import serve
settings = Settings(data_dir=Path(sys.argv[1]), port=7980)
jobs = JobService(settings, slots=False)
demo, url = serve(jobs, settings)
heavy = {"torch", "diffusers", "transformers"} & sys.modules.keys()
assert not heavy, heavy
ready(url, demo, started)
"""
)


def once(code: str, folder: str, browser: object | None) -> tuple[float, float | None]:
    """(seconds from start to served, seconds in the browser or None) of one fresh process."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    words: list[str] = []
    while not words:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the page did not start")
        words = line.split() if line.startswith("READY") else []
    shown = _shown(browser, words[2]) if browser else None
    process.kill()
    process.wait()
    return float(words[1]), shown


def _shown(browser: object, url: str) -> float:
    page = browser.new_page()  # type: ignore[attr-defined]
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#animate")
    seconds = time.perf_counter() - started
    page.close()
    return seconds


def measure(runs: int, browser: object | None = None) -> dict[str, list[tuple[float, float | None]]]:
    """Seconds of ``runs`` interleaved runs, after one of each that warms the disk."""
    times: dict[str, list[tuple[float, float | None]]] = {"empty": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs + 1):
            for name, code in (("empty", EMPTY), ("ours", OURS)):
                seconds = once(code, folder, browser)
                if run:
                    times[name].append(seconds)
    return times


def report(times: dict[str, list[tuple[float, float | None]]], part: int, what: str) -> float:
    """Print the medians and return their ratio."""
    medians = {name: statistics.median(value[part] for value in values) for name, values in times.items()}  # type: ignore[type-var]
    ratio = medians["ours"] / medians["empty"]
    single = {name: " ".join(f"{value[part]:.2f}" for value in values) for name, values in times.items()}
    print(f"{what}: empty {medians['empty']:.2f} s, ours {medians['ours']:.2f} s, ratio {ratio:.2f} (limit {LIMIT})")
    print(f"  empty: {single['empty']}\n  ours:  {single['ours']}")
    return ratio


def main() -> int:
    """Exit status 1 where the page is slower than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--browser", action="store_true", help="also time Chromium until the page is visible")
    arguments = parser.parse_args()
    if not arguments.browser:
        return int(report(measure(arguments.runs), 0, "start to served") > LIMIT)
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT))
    from tests.browser import FLAGS, chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        times = measure(arguments.runs, browser)
        browser.close()
    report(times, 1, "opened to visible")
    return int(report(times, 0, "start to served") > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
