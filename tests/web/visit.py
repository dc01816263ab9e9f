"""One visitor's browser, for tests of the page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import pytest
from playwright import sync_api

from tests.browser import chromium

from .conftest import Served

MARKS = [pytest.mark.browser, pytest.mark.skipif(chromium() is None, reason="no Chromium here")]
WAIT = 60_000
expect = sync_api.expect
expect.set_options(timeout=WAIT)


class Visit:
    """One browser profile: a page, what it asked from elsewhere, and the steps people take.

    ``script`` runs in the page before its own scripts.
    """

    def __init__(
        self, browser: sync_api.Browser, served: Served, script: str = "", query: str = "", **context: object
    ) -> None:
        size = {"width": 1360, "height": 960}
        self.context = browser.new_context(**{"viewport": size, "permissions": ["clipboard-read"], **context})
        self.context.set_default_timeout(WAIT)
        self.served, self.page = served, self.context.new_page()
        self.foreign: list[str] = []
        self.errors: list[str] = []
        if script:
            self.context.add_init_script(script)
        self.page.on("request", self._seen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open(query)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert self.foreign == [], "the page asked somebody else"
            assert self.errors == []

    def _seen(self, request: sync_api.Request) -> None:
        if not request.url.startswith((self.served.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, query: str = "") -> None:
        self.page.goto(self.served.url + query)
        expect(self.page.locator("body[data-opened]")).to_be_attached(timeout=WAIT)
        expect(self.page.locator("#summary")).to_contain_text("frames", timeout=WAIT)

    def choose(self, *pictures: Path) -> None:
        self.page.set_input_files("#door input[type=file]", list(pictures))
        expect(self.page.locator("#finder .exact")).to_be_visible(timeout=WAIT)

    def animate(self) -> None:
        self.page.click("#animate")

    def finished(self) -> None:
        expect(self.page.locator("video.clip")).to_be_visible(timeout=WAIT)

    def dial(self, name: str) -> sync_api.Locator:
        return self.page.locator(f"#dial-{name} input").first

    def shot(self, name: str) -> None:
        folder = os.environ.get("SVD_UI_SCREENSHOTS")
        if folder:
            self.page.wait_for_timeout(400)
            self.page.screenshot(path=Path(folder) / f"{name}.png")
