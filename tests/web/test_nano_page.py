"""The page over the real worker and the embedded checkpoint; also makes the README's screenshot.

``SVD_UI_SCREENSHOTS=docs python -m pytest -m slow tests/web/test_nano_page.py`` writes docs/screenshot.png.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from svd_ui.catalog import NANO, nano_row
from svd_ui.jobs.compose import compose
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.web import serve
from tests.browser import FLAGS, chromium
from tests.web.conftest import some_port

sync_api = pytest.importorskip("playwright.sync_api")
MINUTES = 10 * 60_000
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(chromium() is None, reason="no Chromium here"),
    pytest.mark.skipif(not (NANO / "model_index.json").is_file(), reason="nano is not trained yet"),
]


def test_a_photo_becomes_a_clip_that_plays(uploads: None, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=some_port(), checkpoint="nano")
    with compose(settings) as jobs, sync_api.sync_playwright() as playwright:
        demo, url = serve(jobs, settings)
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.goto(url)
        page.locator(".thumb").first.wait_for(timeout=MINUTES)
        page.set_input_files("#door input[type=file]", REPOSITORY / "assets" / "examples" / "mountains.jpg")
        page.locator("#finder .exact").wait_for(timeout=MINUTES)
        page.click("#animate")
        page.locator("video.clip").wait_for(timeout=MINUTES)
        page.wait_for_function("document.querySelector('video.clip').currentTime > 0.5", timeout=MINUTES)
        assert page.evaluate("document.querySelector('video.clip').videoWidth") == nano_row().width
        sync_api.expect(page.locator("#status")).to_contain_text("nano loaded", timeout=MINUTES)
        page.mouse.move(1300, 980)
        page.wait_for_timeout(1500)
        folder = os.environ.get("SVD_UI_SCREENSHOTS")
        if folder:
            page.screenshot(path=Path(folder) / "screenshot.png")
        browser.close()
        demo.close(verbose=False)
