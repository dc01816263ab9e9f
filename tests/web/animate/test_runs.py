"""While clips are made, in Chromium: the preview moves, several stop together, walls have headings, errors stand at their click."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from svd_ui.jobs import Job
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
PLACES = ("#notice", "#still-notice", "#stage-notice", "#history-notice")
SAID = "#read-out"
NO_PICTURE = "not a picture"
AT = "document.querySelector('.reel')?.style.backgroundPositionY"


class OneClip:
    """A gate that the next clip passes once it is ``open``, and none after it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.last, self.open = engine, len(engine.calls) + 1, False

    def wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.open and len(self.engine.calls) <= self.last


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=3, delay=0.05, settings=settings))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    served.engine.gate, served.engine.delay = None, 0.05
    with Visit(browser, served) as visit:
        yield visit


def newest(served: Served) -> Job:
    return served.jobs.history(limit=1)[0]


def said(visit: Visit, place: str, text: str) -> None:
    """Something went wrong, and it is said at ``place`` and nowhere else, by no toast either."""
    expect(visit.page.locator(f"{place} .bad")).to_contain_text(text, timeout=WAIT)
    assert [other for other in PLACES if visit.page.locator(f"{other} .notice").count()] == [place]
    assert visit.page.locator(".toast-wrap .toast-body").count() == 0


def slowly(visit: Visit, photo: Path) -> Visit:
    """A clip of long steps is on its way."""
    visit.choose(photo)
    visit.served.engine.delay = 1.5
    visit.dial("num_inference_steps").fill("100")
    visit.animate()
    expect(visit.page.locator(".reel[style*='blob:']")).to_be_visible(timeout=WAIT)
    return visit


def test_the_preview_moves_and_a_second_tab_sees_it(visit: Visit, browser: sync_api.Browser, photo: Path) -> None:
    page = slowly(visit, photo).page
    seen = set()
    for _ in range(12):
        seen.add(page.evaluate(AT))
        page.wait_for_timeout(90)
    assert len(seen) >= 3
    job = newest(visit.served)
    assert (job.has_preview, job.preview_frames) == (True, 4)
    sheet = httpx.get(f"{visit.served.url}svd/job/{job.id}/preview?step=1")
    assert sheet.headers["cache-control"] == "no-store"
    assert len(sheet.content) < 60_000
    assert "data:image" not in page.locator("#stage").inner_html()
    assert "preview" not in page.locator("#history").inner_html()
    with Visit(browser, visit.served, query=f"?job={job.id}") as other:
        expect(other.page.locator(".reel[style*='blob:']")).to_be_visible(timeout=WAIT)
    page.reload()
    expect(page.locator(".reel[style*='blob:']")).to_be_visible(timeout=WAIT)
    page.keyboard.press("Escape")
    expect(page.locator(".stage-stopped")).to_be_visible(timeout=WAIT)


@pytest.mark.slow
def test_with_little_motion_the_preview_rests(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    with Visit(browser, served, reduced_motion="reduce") as visit:
        page = slowly(visit, photo).page
        seen = set()
        for _ in range(8):
            seen.add(page.evaluate(AT))
            page.wait_for_timeout(90)
        assert seen <= {"100%", None}
        page.keyboard.press("Escape")
        expect(page.locator(".stage-stopped")).to_be_visible(timeout=WAIT)


def test_clips_made_together_say_which_one_it_is_and_stop_together(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    visit.served.engine.gate = gate = OneClip(visit.served.engine)  # type: ignore[assignment]
    page.evaluate("document.querySelector('#advanced button')?.click()")
    visit.dial("seeds").fill("4")
    visit.dial("seed").fill("50")
    visit.animate()
    batch = page.locator(".stage .batch")
    expect(batch).to_contain_text("Clip 1 of 4", timeout=WAIT)
    expect(batch.locator("[data-act=view]")).to_have_count(0)
    first = newest(visit.served).batch
    assert first
    assert len({job.batch for job in visit.served.jobs.history(limit=4)}) == 1

    # A waiting one is taken out; the others stay.
    waiting = page.get_by_role("button", name="Cancel photo, seed 52")
    waiting.click()
    expect(waiting).to_have_count(0, timeout=WAIT)
    assert next(job for job in visit.served.jobs.history() if job.request.seed == 52).state == "cancelled"
    expect(batch).to_contain_text("Clip 1 of 4")

    # The first is done: the stage keeps it, and says what is made meanwhile.
    page.reload()
    expect(batch).to_contain_text("Clip 1 of 4", timeout=WAIT)
    gate.open = True
    visit.finished()
    expect(batch).to_contain_text("Making clip 2 of 4", timeout=WAIT)
    batch.locator("[data-act=stop_all]").click()
    expect(batch).to_have_count(0, timeout=WAIT)
    expect(page.locator("video.clip")).to_be_visible()
    states = {job.request.seed: job.state for job in visit.served.jobs.history(limit=4)}
    assert [states[seed] for seed in range(50, 54)] == ["finished", "cancelled", "cancelled", "cancelled"]


def test_a_wall_has_headings_while_it_forms_and_after(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    visit.dial("seed").fill("12")
    visit.served.engine.delay = 0.4
    page.click("#draft-wall")
    expect(page.locator(".wall[style*='blob:'] .part")).to_have_count(9, timeout=WAIT)
    heads = page.locator(".wall-head")
    expected = ["Motion 40", "Motion 127", "Motion 200", "Seed 12", "Seed 13", "Seed 14"]
    expect(heads).to_have_text(expected)
    ground = "getComputedStyle(document.querySelector('.wall').closest('.stage')).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    visit.served.engine.delay = 0.01
    expect(page.locator(".stage-finished .tile")).to_have_count(9, timeout=WAIT)
    expect(heads).to_have_text(expected)
    tops = heads.evaluate_all("heads => heads.map((head) => Math.round(head.getBoundingClientRect().top))")
    assert len(set(tops[:3])) == 1
    assert tops[3] < tops[4] < tops[5]
    page.set_viewport_size({"width": 390, "height": 844})
    expect(heads.first).to_be_hidden()
    expect(page.locator(".tile-cap > span").first).to_have_text("seed 12, motion\u00a040")


def test_clips_are_called_by_the_file_and_by_the_prompt(visit: Visit, photo: Path, tmp_path: Path) -> None:
    page = visit.page
    boat = tmp_path / "red boat.jpg"
    boat.write_bytes(photo.read_bytes())
    visit.choose(boat)
    visit.dial("seed").fill("3")
    visit.animate()
    visit.finished()
    card = page.locator(".history .job.on .cap")
    expect(card.locator("b")).to_have_text("red boat")
    expect(card).to_contain_text("seed 3")
    first = page.url
    page.click(".stage [data-act=reseed]")
    expect(page).not_to_have_url(first, timeout=WAIT)  # else the clip before is taken for this one
    expect(page.locator(".history .job.on .cap b")).to_have_text("red boat", timeout=WAIT)
    visit.finished()
    job = newest(visit.served)
    assert job.name == "red boat"
    for name in ("video", "poster"):
        path = visit.served.jobs.file(job, name)
        assert path is not None
        assert b"red boat" not in path.read_bytes()
    page.locator(".history .job [data-act=restore]").first.click()
    expect(page.locator("#history-notice")).to_contain_text("restored", timeout=WAIT)
    visit.animate()
    expect(page.locator(".history .job.on .cap b")).to_have_text("red boat", timeout=WAIT)
    visit.finished()


def test_errors_stand_at_the_click_that_caused_them(visit: Visit, photo: Path, tmp_path: Path) -> None:
    page = visit.page
    (tmp_path / "notes.jpg").write_text("not a picture")
    (tmp_path / "settings.json").write_text(json.dumps({"something": "else"}))
    visit.animate()
    said(visit, "#notice", "Choose a picture first")
    page.set_input_files("#door input[type=file]", tmp_path / "notes.jpg")
    said(visit, "#still-notice", NO_PICTURE)
    page.set_input_files("#door input[type=file]", tmp_path / "settings.json")
    said(visit, "#still-notice", "settings")
    visit.choose(photo)
    visit.animate()
    visit.finished()
    assert page.locator(".notice").count() == 0
    visit.served.jobs.delete(newest(visit.served).id)
    page.locator(".stage [data-act=reseed]").click()
    said(visit, "#stage-notice", "There is no job here")
    page.locator(".history .job [data-act=restore]").first.click()
    said(visit, "#history-notice", "There is no job here")
    visit.dial("num_frames").fill("999")
    visit.animate()
    expect(page.locator("#dial-num_frames")).to_contain_text("from 2 to 64", timeout=WAIT)
    expect(page.locator(SAID)).to_contain_text("from 2 to 64")  # who cannot see it hears it
    assert page.locator(".gradio-container").get_by_text("from 2 to 64").count() == 1


def test_an_upload_that_fails_is_seen_on_a_phone(browser: sync_api.Browser, served: Served, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    with Visit(browser, served, viewport={"width": 390, "height": 844}, has_touch=True) as visit:
        visit.page.set_input_files("#door input[type=file]", tmp_path / "notes.jpg")
        said(visit, "#still-notice", NO_PICTURE)
        visit.page.wait_for_timeout(300)
        bar = visit.page.locator("#run-bar").bounding_box()
        line = visit.page.locator("#still-notice .bad").bounding_box()
        assert bar
        assert line
        assert 0 <= line["y"]
        assert line["y"] + line["height"] <= bar["y"]


def test_an_address_without_a_clip_says_so_and_offers_the_history(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.open("?job=" + "0" * 32)
    expect(page.locator(".stage-lost")).to_contain_text("There is no clip at this address", timeout=WAIT)
    expect(page.locator(SAID)).to_have_text("There is no clip at this address")
    page.click(".stage-lost a:has-text('history')")
    page.locator(".history .job [data-act=view]").first.click()
    expect(page.locator(".stage-lost")).to_have_count(0, timeout=WAIT)
    visit.open()
    expect(page.locator(".stage-lost")).to_have_count(0)
