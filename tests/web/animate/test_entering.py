"""What comes in at the door of the page, in Chromium: phone pictures, clips, addresses of other pages."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.media.files import DATA, TURNS, clip, turned
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
DROP = """([html, address]) => {
  const data = new DataTransfer();
  if (html) data.setData('text/html', html);
  if (address) data.setData('text/uri-list', address);
  for (const kind of ['dragenter', 'dragover', 'drop'])
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = """async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 300, height: 200 });
  canvas.getContext('2d').fillRect(0, 0, 200, 100);
  const blob = await new Promise((done) => canvas.toBlob(done));
  const data = new DataTransfer();
  data.items.add(new File([blob], 'image.png', { type: 'image/png' }));
  document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=2, delay=0.01, settings=settings))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    with Visit(browser, served) as visit:
        yield visit


@pytest.fixture(scope="module")
def elsewhere(photo: Path) -> Iterator[str]:
    """Another site; only what lies under /open/ may be fetched by pages of others."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = photo.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(data)))
            if self.path.startswith("/open/"):
                self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def phone_clip(folder: Path) -> Path:
    """Thirty frames that grow brighter; stored lying, shown upright."""
    frames = np.zeros((30, 144, 256, 3), np.uint8) + (8 * np.arange(30, dtype=np.uint8))[:, None, None, None]
    path = folder / "IMG_0042.MOV"
    path.write_bytes(turned(clip(folder / "stored.mp4", frames, fps=10), *TURNS["90"]))
    return path


def grey(visit: Visit) -> int:
    """Of the shown picture."""
    return visit.page.evaluate(
        """async () => {
          const image = document.querySelector('#finder .source img');
          await image.decode();
          const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
          canvas.getContext('2d').drawImage(image, 0, 0, 1, 1);
          return canvas.getContext('2d').getImageData(0, 0, 1, 1).data[1];
        }"""
    )


def test_a_heic_and_a_portrait_photo(visit: Visit, tmp_path: Path) -> None:
    visit.choose(DATA / "turned.heic")
    size = visit.page.locator("#finder figcaption b")
    expect(size).to_have_text(re.compile(r"^\d+ × \d+$"))
    source = visit.page.locator("#finder .source")
    expect(source).to_have_attribute("data-w", "64")
    Image.linear_gradient("L").resize((270, 480)).save(tmp_path / "portrait.jpg")
    visit.choose(tmp_path / "portrait.jpg")
    expect(size).to_have_text("288 × 512")
    expect(visit.page.locator("#aspect label.selected")).to_have_text("Source")


def test_a_frame_of_a_clip_is_chosen_on_a_scrubber(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    visit.choose(phone_clip(tmp_path))
    said, scrub = page.locator("#finder .scrub output"), page.locator("#finder .scrub input")
    expect(said).to_have_text("1 of 30, 0.00 s")
    expect(page.locator("#finder figcaption b")).to_have_text("288 × 512")
    scrub.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(said).to_have_text("11 of 30, 1.00 s")
    page.wait_for_function("document.querySelector('#finder .source img').src.includes('svd/frame')", timeout=WAIT)
    assert grey(visit) == pytest.approx(80, abs=6), "shown while it moves"
    page.wait_for_function("document.querySelector('#finder .source img').src.includes('svd/still')", timeout=WAIT)
    assert grey(visit) == pytest.approx(80, abs=6), "and kept when it rests"
    expect(scrub).to_be_focused()
    page.click("#finder .scrub button:has-text('Last frame')")
    expect(said).to_have_text("30 of 30, 2.90 s")
    page.wait_for_function("document.querySelector('#finder .source img').src.includes('svd/still')", timeout=WAIT)
    page.wait_for_timeout(600)
    assert grey(visit) == pytest.approx(232, abs=6)
    visit.open()
    expect(said).to_have_text("30 of 30, 2.90 s")
    visit.animate()
    visit.finished()
    assert visit.served.jobs.history(limit=1)[0].request.height == 512


def test_only_uploads_are_looked_into(served: Served, photo: Path, tmp_path: Path) -> None:
    clip(tmp_path / "mine.mp4", np.zeros((2, 64, 96, 3), np.uint8))
    for query in (
        {"path": str(tmp_path / "mine.mp4"), "at": "0"},
        {"path": "/etc/passwd", "at": "0"},
        {"path": "mine.mp4", "at": "nan"},
        {"path": "", "at": "0"},
        {"at": "0"},
        {},
    ):
        assert httpx.get(f"{served.url}svd/frame", params=query).status_code == 404


def test_our_own_clip_restores_its_settings_and_offers_its_frames(
    visit: Visit, browser: sync_api.Browser, photo: Path, tmp_path: Path
) -> None:
    visit.choose(photo)
    visit.dial("seed").fill("77")
    visit.animate()
    visit.finished()
    file = visit.served.jobs.file(visit.served.jobs.history(limit=1)[0], "video")
    assert file is not None
    ours = tmp_path / "ours.mp4"
    ours.write_bytes(file.read_bytes())
    with Visit(browser, visit.served) as other:
        other.page.evaluate("document.querySelector('#preset input[value=landscape]').click()")
        expect(other.page.locator("#dials")).to_contain_text("Wide scenery")
        other.choose(ours)
        expect(other.page.locator("#still-notice")).to_contain_text("Settings restored")
        expect(other.page.locator("#dials")).not_to_contain_text("Wide scenery")
        expect(other.dial("seed")).to_have_value("77")
        lead, source = other.page.locator(".scrub-lead"), other.page.locator("#finder .source")
        expect(lead).to_have_text("Continue from a frame of the clip")
        expect(source).to_have_attribute("data-w", "320")
        other.page.click("#finder .scrub button:has-text('Last frame')")
        expect(lead).to_have_text("Frame of the clip")
        expect(source).not_to_have_attribute("data-w", "320")


def test_an_address_from_another_tab_is_fetched_or_the_reason_is_said(visit: Visit, elsewhere: str) -> None:
    page, line = visit.page, visit.page.locator("#door .door-busy")
    link = f"<a href='{elsewhere}/page'><img src='{elsewhere}/closed/photo.jpg'></a>"
    page.evaluate(DROP, [link, f"{elsewhere}/page"])
    expect(line).to_contain_text("save the picture there, then drop the file here")
    assert page.locator("#finder .exact").count() == 0
    page.evaluate(DROP, ["", f"{elsewhere}/open/photo.jpg?size=large"])
    expect(page.locator("#finder .source")).to_have_attribute("data-w", "320", timeout=WAIT)
    page.evaluate(DROP, ["", f"{elsewhere}/closed/photo.jpg"])
    expect(page.locator("#finder .door-busy")).to_contain_text("save the picture there", timeout=WAIT)
    page.evaluate(PASTE)
    expect(page.locator("#finder .source")).to_have_attribute("data-w", "300", timeout=WAIT)
    visit.foreign = [address for address in visit.foreign if not address.startswith(elsewhere)]


def test_of_several_files_the_good_ones_are_taken_and_the_others_named(
    visit: Visit, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    visit.choose(photo, tmp_path / "empty.png", phone_clip(tmp_path))
    expect(visit.page.locator("#finder .strip")).to_contain_text("2 pictures")
    expect(visit.page.locator("#still-notice")).to_have_text("empty.png was skipped: The file is empty.")
    visit.page.click("#finder [data-act=clear]")
    expect(visit.page.locator("#still-notice")).not_to_contain_text("skipped")


def test_a_double_click_starts_one_clip(visit: Visit, photo: Path) -> None:
    before = len(visit.served.jobs.history())
    visit.choose(photo)
    visit.page.dblclick("#animate")
    visit.finished()
    assert len(visit.served.jobs.history()) == before + 1


def test_a_start_waits_for_the_picture_that_is_on_its_way(visit: Visit, photo: Path, tmp_path: Path) -> None:
    def size() -> tuple[int | None, int | None]:
        visit.finished()
        request = visit.served.jobs.history(limit=1)[0].request
        return Assets.of(visit.served.settings).size(str(request.image))

    def shade() -> float:
        visit.finished()
        ref = visit.served.jobs.history(limit=1)[0].request.image
        return float(np.asarray(Assets.of(visit.served.settings).open(str(ref))).mean())

    page = visit.page
    visit.choose(photo)
    page.set_input_files("#door input[type=file]", phone_clip(tmp_path))
    visit.animate()
    expect(page.locator(".stage-running, video.clip")).to_be_visible(timeout=WAIT)
    assert size() == (144, 256)
    page.focus("#finder .scrub input")
    page.keyboard.press("End")
    visit.animate()
    expect(page.locator(".stage-running")).to_be_visible(timeout=WAIT)
    assert shade() == pytest.approx(232, abs=4)
