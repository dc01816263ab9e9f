"""What one works with is in view and holds still, at every size, in Chromium; how far things jump is the browser's measure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web.animate.form import default_of, explicit, values_of
from tests.fakes import FakeEngine
from tests.media.files import clip
from tests.web.animate.test_form import REF, ROW, STILL, values
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

expect = sync_api.expect
DESKS = [(1920, 1080), (1440, 900), (1024, 768)]
PHONE = (390, 844)
SLOW_DESK = (1024, 768)
"""Nothing jumps there that does not at 1440 as well, as long as nobody touches the style sheets."""
MOST = 0.02
"""Of cumulative layout shift, for loading and for each control, what follows an input at once counted too."""
WATCH = """
  {
    window.shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries().map((entry) => entry.value)))
      .observe({ type: 'layout-shift', buffered: true });
    window.asking = 0;
    window.answered = performance.now();
    const now = () => { answered = performance.now(); };
    new PerformanceObserver(now).observe({ type: 'resource' });
    const ask = window.fetch;
    window.fetch = (...what) => { asking++; return ask(...what).finally(() => { asking--; now(); }); };
  }
"""
QUIET = "asking === 0 && performance.now() - answered > 400"
"""Nothing is asked for, and what came last has been shown."""


def named(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=2, delay=0.05, settings=settings))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served, request: pytest.FixtureRequest) -> Iterator[Visit]:
    width, height = request.param
    with Visit(browser, served, WATCH, viewport={"width": width, "height": height}, has_touch=width < 600) as visit:
        yield visit


def at(*sizes: tuple[int, int], slow: tuple[tuple[int, int], ...] = ()) -> pytest.MarkDecorator:
    """``SLOW_DESK`` is among the slow tests, and what is ``slow`` besides."""
    late = {SLOW_DESK, *slow}
    marked = [pytest.param(size, marks=pytest.mark.slow) if size in late else size for size in sizes]
    return pytest.mark.parametrize("visit", marked, indirect=True, ids=named)


def moved(visit: Visit, act: Callable[[], object]) -> float:
    """The layout shift of ``act`` and of what the server answers."""
    visit.page.evaluate("shifts.splice(0)")
    visit.page.evaluate("answered = performance.now()")
    act()
    visit.page.wait_for_function(QUIET)
    return float(visit.page.evaluate("shifts.reduce((sum, one) => sum + one, 0)"))


def top_and_bottom(visit: Visit, selector: str) -> tuple[float, float]:
    box = visit.page.locator(selector).bounding_box()
    assert box is not None
    return box["y"], box["y"] + box["height"]


def sizes(visit: Visit) -> Iterator[Visit]:
    """The page at all sizes of its kind of screen, after it has come to rest there."""
    size = visit.page.viewport_size
    assert size is not None
    for width, height in DESKS if size["width"] > 600 else [PHONE]:
        visit.page.set_viewport_size({"width": width, "height": height})
        visit.page.evaluate("answered = performance.now()")
        visit.page.wait_for_function(QUIET)
        yield visit


class TestHoldsStill:
    pytestmark = MARKS

    @at(*DESKS[1:], PHONE, slow=(DESKS[1],))
    def test_nothing_jumps(self, visit: Visit, photo: Path, tmp_path: Path) -> None:
        """On loading, and whatever is chosen."""
        page = visit.page
        page.wait_for_function(QUIET)
        jumps = {"loading": float(page.evaluate("shifts.reduce((sum, one) => sum + one, 0)"))}

        def click(selector: str) -> None:
            page.locator(selector).first.scroll_into_view_if_needed()
            jumps[selector] = moved(visit, lambda: page.locator(selector).first.click())

        jumps["picture"] = moved(visit, lambda: visit.choose(photo))
        for shape in ("9:16", "1:1", "4:5", "Source", "16:9"):
            click(f"#aspect label:has-text('{shape}')")
        click("#source label:has-text('Prompt')")
        click("#source label:has-text('Picture')")
        for kind in ("Camera", "Brush", "Plain"):
            click(f"#dial-method label:has-text('{kind}')")
        for choice in (1, 2, 0):
            click(f"#dial-speed label >> nth={choice}")
        for preset in ("Portrait", "Artwork", "None"):
            click(f"#preset label:has-text('{preset}')")
        click("#shuffle")
        click("#dial-post-boomerang input")
        click("#dial-output_format label:has-text('gif')")
        click("#dial-checkpoint label:has-text('SVD-XT (25')")
        expect(page.locator("#offer .offer")).to_be_visible(timeout=WAIT)
        click("#dial-checkpoint label:has-text('nano')")
        click("#finder [data-act=clear]")
        clip(tmp_path / "clip.mp4", np.zeros((12, 144, 256, 3), np.uint8))
        jumps["video"] = moved(visit, lambda: visit.choose(tmp_path / "clip.mp4"))
        expect(page.locator("#finder .scrub")).to_be_visible()
        jumps["animate"] = moved(visit, lambda: (visit.animate(), visit.finished()))
        too_far = {name: round(far, 4) for name, far in jumps.items() if far > MOST}
        assert too_far == {}, jumps

    @at(DESKS[0], PHONE)
    def test_the_motion_is_seen_beside_the_picture_and_the_run_button(self, visit: Visit, photo: Path) -> None:
        visit.choose(photo)
        for size in sizes(visit):
            self.seen_together(size)

    def seen_together(self, visit: Visit) -> None:
        picture, motion = top_and_bottom(visit, "#finder .source"), top_and_bottom(visit, "#dial-motion_bucket_id")
        bar, animate = top_and_bottom(visit, "#run-bar"), top_and_bottom(visit, "#animate")
        height = visit.page.viewport_size["height"]  # type: ignore[index]
        assert 0 <= picture[0] < picture[1] < motion[0] < motion[1] <= bar[0] < animate[1] <= height
        assert bar[1] - bar[0] <= (0.14 if visit.page.viewport_size["width"] < 600 else 0.10) * height  # type: ignore[index]


class TestPlayback:
    pytestmark = MARKS

    @at(DESKS[0], PHONE)
    def test_the_clip_uses_the_room_and_is_seen_whole(self, visit: Visit, photo: Path) -> None:
        visit.choose(photo)
        visit.page.click("#aspect label:has-text('16:9')")
        visit.animate()
        visit.finished()
        for size in sizes(visit):
            self.seen_whole(size)

    def seen_whole(self, visit: Visit) -> None:
        box = visit.page.locator("video.clip").bounding_box()
        assert box is not None
        width, height = visit.page.viewport_size.values()  # type: ignore[union-attr]
        assert box["width"] >= (0.86 if width < 600 else 0.5) * width
        assert box["y"] >= 0 and box["y"] + box["height"] <= height
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width

    @at(PHONE)
    def test_a_phone_is_one_tap_from_the_form_and_from_the_clip(self, visit: Visit, photo: Path) -> None:
        page = visit.page
        settings, shown = (page.get_by_role("button", name=name, exact=True) for name in ("Settings", "Clip"))
        visit.choose(photo)
        visit.animate()
        visit.finished()
        expect(shown).to_have_attribute("aria-current", "true")
        settings.tap()
        expect(page.locator("#finder .source")).to_be_in_viewport(ratio=0.9)
        expect(settings).to_have_attribute("aria-current", "true")
        shown.tap()
        expect(page.locator("video.clip")).to_be_in_viewport(ratio=0.9)

    @at(DESKS[1])
    def test_a_fresh_form_plays_there_and_back_and_a_restored_clip_as_it_was(self, visit: Visit, photo: Path) -> None:
        page, there_and_back = visit.page, visit.page.locator("#dial-post-boomerang input")
        expect(there_and_back).to_be_checked()
        visit.choose(photo)
        visit.animate()
        visit.finished()
        assert [step.kind for step in visit.served.jobs.history(limit=1)[0].request.post] == ["boomerang"]
        there_and_back.uncheck()
        cards = page.locator(".history .job")
        count = cards.count()
        visit.animate()
        expect(cards).to_have_count(count + 1)
        visit.finished()
        assert visit.served.jobs.history(limit=1)[0].request.post == ()
        there_and_back.check()
        page.locator(".history .job [data-act=restore]").first.click()
        expect(there_and_back).not_to_be_checked()

    @at(DESKS[1])
    def test_the_head_says_device_and_memory_and_the_rest_on_demand(self, visit: Visit) -> None:
        page, line = visit.page, visit.page.locator("#status summary")
        expect(line).to_contain_text("Fake device")
        assert not re.search("profile|sdpa", line.inner_text())
        more = page.locator("#status .status-more")
        expect(more).to_be_hidden()
        line.focus()
        page.keyboard.press("Enter")
        expect(more).to_contain_text("profile cpu")
        page.keyboard.press("Escape")
        expect(more).to_be_hidden()
        expect(line).to_be_focused()


def test_the_page_alone_starts_with_a_loop() -> None:
    assert default_of("post.boomerang") is True
    assert GenerationRequest(image=REF).post == ()
    assert [step["kind"] for step in explicit(values(**{"post.boomerang": default_of("post.boomerang")}))["post"]] == [
        "boomerang"
    ]
    assert values_of(GenerationRequest(image=REF), ROW, STILL)["post.boomerang"] is False
