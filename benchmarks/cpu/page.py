"""How long until the page is served, against an empty gradio page and against importing the model's stack first.

Each run is a fresh process: import, build, launch, then GET / until it answers 200. The kinds take turns, so that a
busy machine is equally unkind to all; the limits are on the ratios. ``python -m benchmarks.cpu.page`` also measures,
in Chromium, from opening the address to a visible page.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from svd_ui.settings import REPOSITORY

from ..clips import in_turn, median_ratio
from ..report import Row

CLOCK = """
import os, sys, time, urllib.request
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
started = time.perf_counter()
def ready(url):
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200
        answer.read()
    print("READY", time.perf_counter() - started, url, flush=True)
    sys.stdin.readline()
    os._exit(0)
"""
EMPTY = """
import gradio as gr
with gr.Blocks(analytics_enabled=False) as demo:
    gr.Markdown("Ready", elem_id="animate")
_, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
ready(url)
"""
PAGE = """
from pathlib import Path
from svd_ui.settings import Settings
from svd_ui.jobs.service import JobService
from svd_ui.web import serve
settings = Settings(data_dir=Path(sys.argv[1]), port=7980)
demo, url = serve(JobService(settings, slots=False), settings)
"""
OURS = (
    PAGE
    + """
heavy = {"torch", "diffusers", "transformers"} & sys.modules.keys()
assert not heavy, heavy
ready(url)
"""
)
EAGER = "import gradio, torch\nfrom diffusers import StableVideoDiffusionPipeline\n" + PAGE + "ready(url)\n"
KINDS = {"empty": EMPTY, "eager": EAGER, "ours": OURS}


def rows(runs: int = 5, browser: Any = None) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        kinds = {name: lambda code=code: once(CLOCK + code, folder, browser) for name, code in KINDS.items()}
        in_turn(kinds, 1)  # warms the disk
        found = in_turn(kinds, runs)
    served = {name: [seconds for seconds, _ in times] for name, times in found.items()}
    made = [Row(f"page served, {name}", statistics.median(times), "s") for name, times in served.items()]
    made.append(
        Row("page served, ours of an empty page", median_ratio(served["ours"], served["empty"]), "x", at_most=1.2)
    )
    made.append(
        Row("page served, ours of eager imports", median_ratio(served["ours"], served["eager"]), "x", at_most=0.6)
    )
    if browser is not None:
        shown = {name: [seconds for _, seconds in times] for name, times in found.items()}
        made += [Row(f"page visible, {name}", statistics.median(times), "s") for name, times in shown.items()]
        made.append(
            Row("page visible, ours of an empty page", median_ratio(shown["ours"], shown["empty"]), "x", at_most=1.3)
        )
    return made


def once(code: str, folder: str, browser: Any) -> tuple[float, float]:
    """(seconds from start to served, seconds in the browser or 0) of one fresh process."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    words: list[str] = []
    while not words:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the page did not start")
        words = line.split() if line.startswith("READY") else []
    shown = _shown(browser, words[2]) if browser else 0.0
    process.kill()
    process.wait()
    return float(words[1]), shown


def _shown(browser: Any, url: str) -> float:
    page = browser.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#animate")
    seconds = time.perf_counter() - started
    page.close()
    return seconds


def main() -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser import FLAGS, chromium

    from ..report import finish

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        found = rows(browser=browser)
        browser.close()
    finish("page", "this machine", found, None)


if __name__ == "__main__":
    main()
