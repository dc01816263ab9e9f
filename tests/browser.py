"""Which Chromium the browser tests drive: the system's, else Playwright's own."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
NO = {"", "0", "no", "false"}


@cache
def chromium() -> str | None:
    """The executable, or None where there is none: its tests are skipped then.

    Raises where it must not be missing: under ``CI`` or ``SVD_UI_REQUIRE_BROWSER``, set to anything but no.
    """
    found = find()
    if found is None and required("BROWSER"):
        raise RuntimeError("There is no Chromium, and CI or SVD_UI_REQUIRE_BROWSER forbids to skip the browser tests.")
    return found


def required(what: str) -> bool:
    """Whether a test must not be skipped for want of ``what``."""
    return any(os.environ.get(name, "").lower() not in NO for name in ("CI", f"SVD_UI_REQUIRE_{what}"))


def find() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None
