"""A served page over the real job service and a fake engine, on a free port."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from svd_ui.jobs.service import JobService
from svd_ui.settings import Settings
from svd_ui.web import serve
from tests.browser import FLAGS, chromium
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


@dataclass
class Served:
    """What a test of the page talks to."""

    url: str
    jobs: JobService
    engine: FakeEngine
    settings: Settings


def some_port() -> int:
    """One that nobody uses now, another for every server of a test run: runs and their workers look at the same time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(settings: Settings, engine: FakeEngine, **extra: object) -> Iterator[Served]:
    """Serve until the generator is closed."""
    settings = settings.model_copy(update={"port": some_port()})
    with JobService(settings, engine) as jobs:
        jobs.start()
        demo, url = serve(jobs, settings, **extra)
        try:
            yield Served(url, jobs, engine, settings)
        finally:
            demo.close(verbose=False)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Uploads of this module in a folder of its own: gradio reads the variable whenever it stores one."""
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradient, 320x240, as JPEG."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    red = Image.linear_gradient("L").resize((320, 240))
    Image.merge("RGB", (red, red.transpose(Image.Transpose.ROTATE_180), Image.new("L", (320, 240), 90))).save(path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = [*FLAGS, "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()
