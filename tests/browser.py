"""Which Chromium the browser tests drive: the system's, else Playwright's own."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@cache
def chromium() -> str | None:
    """The executable, or None where there is none (the test is skipped then)."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None
