"""Before and around a run, in Chromium: the speed dial, what it will cost, what fits, and the draft wall."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.engine import Device, Estimate, Remedy
from svd_ui.jobs import Job
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
GIB = 1024**3
CARD = Device(kind="cuda", name="Fake card", total_bytes=8 * GIB, free_bytes=7 * GIB, profile="8gb")


class Judging(FakeEngine):
    """More than twenty frames do not fit, unless a profile is chosen."""

    def estimate(self, request: GenerationRequest) -> Estimate:
        if (request.num_frames or 14) <= 20 or request.profile != "auto":
            seconds = {"exact": 24, "fast": 10, "draft": 5}[request.speed]
            return Estimate(seconds=seconds, basis="computed", peak_bytes=int(6.9 * GIB), profile="8gb", fits=True)
        remedy = Remedy(values={"profile": "6gb", "decode_chunk_size": 2})
        return Estimate(peak_bytes=int(13.2 * GIB), profile="8gb", fits=False, remedy=remedy)


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, Judging(steps=2, delay=0.05, settings=settings, device=CARD))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    with Visit(browser, served) as visit:
        yield visit


def newest(visit: Visit) -> Job:
    return visit.served.jobs.history(limit=1)[0]


def count(visit: Visit) -> int:
    return len(visit.served.jobs.history(limit=100))


def make_wall(visit: Visit, photo: Path, seed: int, seeds: int = 2, motions: str = "40, 200") -> None:
    """From the picture to the tiles."""
    visit.choose(photo)
    visit.dial("seed").fill(str(seed))
    visit.page.click("#wall-toggle button")
    visit.dial("wall_seeds").fill(str(seeds))
    visit.page.fill("#dial-wall_motions :is(input, textarea)", motions)
    expect(visit.page.locator("#wall-toggle button")).to_contain_text(f"{seeds} × {motions.count(',') + 1}")
    visit.page.click("#draft-wall")
    expect(visit.page.locator(".stage-finished .tile")).to_have_count(seeds * (motions.count(",") + 1), timeout=WAIT)


def test_the_speed_dial_says_what_is_approximate_and_what_it_costs(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    speeds = page.locator("#dial-speed label")
    expect(speeds.nth(0)).to_contain_text(re.compile(r"Full quality\s+about 24\ss"))
    page.click("#dial-checkpoint label:has-text('SVD-XT (25')")
    expect(speeds.nth(1)).to_contain_text(re.compile(r"Fast\s+10 instead of 24\ss"), timeout=WAIT)
    expect(speeds.nth(2)).to_contain_text(re.compile(r"Draft\s+5 instead of 24\ss"))
    page.click("#quality-and-speed button")
    interval = visit.dial("cache_interval")
    expect(interval).to_have_attribute("placeholder", "1")
    expect(page.locator("#dial-cache_interval")).to_contain_text("approximate")
    page.focus("#dial-speed input >> nth=0")
    page.keyboard.press("ArrowRight")
    expect(speeds.nth(1)).to_have_class(re.compile("selected"))
    expect(interval).to_have_attribute("placeholder", re.compile("[2-5]"), timeout=WAIT)
    page.click("#dial-checkpoint label:has-text('nano')")
    visit.animate()
    visit.finished()
    assert newest(visit).request.speed == "fast"
    expect(page.locator(".stage .facts").first).to_contain_text("fast")


def test_the_keyboard_stays_on_the_speed_dial_while_its_labels_change(visit: Visit) -> None:
    page = visit.page
    page.click("#dial-checkpoint label:has-text('SVD-XT (25')")
    expect(page.locator("#dial-speed label").nth(1)).to_contain_text("instead of", timeout=WAIT)
    page.focus("#dial-speed input >> nth=0")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(400)
    expect(page.locator("#dial-speed input").nth(2)).to_be_focused()


def test_the_choice_of_a_method_says_why_a_checkpoint_cannot_be_steered_so(visit: Visit) -> None:
    method = visit.page.locator("#dial-method")
    visit.page.get_by_label("Motion strength", exact=True).check()
    expect(method).to_contain_text("own noise levels", timeout=WAIT)  # nano's, too
    visit.page.click("#dial-checkpoint label:has-text('SVD-XT (25')")
    expect(method).to_contain_text("More motion", timeout=WAIT)
    visit.page.get_by_label("AnimateLCM", exact=False).check()
    expect(method).to_contain_text("own noise levels", timeout=WAIT)
    visit.page.get_by_label("Plain", exact=True).check()
    expect(method).to_contain_text("by itself", timeout=WAIT)


def test_time_and_memory_are_predicted_before_the_run(visit: Visit) -> None:
    outlook = visit.page.locator("#summary .outlook")
    expect(outlook).to_contain_text(re.compile(r"^About \d+ s, 6\.9 of 8 GB VRAM \(profile 8gb\)"), timeout=WAIT)
    tip = outlook.locator(".tip")
    expect(tip).to_have_attribute("data-tip", re.compile("computed|made here"))
    tip.focus()
    shown = "getComputedStyle(document.querySelector('#summary .tip'), '::after').position"
    assert visit.page.evaluate(shown) == "absolute"


def test_what_does_not_fit_is_one_key_from_what_does_and_back(visit: Visit) -> None:
    page = visit.page
    page.click("#quality-and-speed button")
    profile = page.locator("#dial-profile label.selected")
    visit.dial("num_frames").fill("25")
    remedy = page.locator("#obstacle [data-act=remedy]")
    expect(page.locator("#obstacle")).to_contain_text(
        "This needs 13.2 GB, and this device has 8 GB of VRAM", timeout=WAIT
    )
    expect(remedy).to_have_text("Use the 6 GB profile and decode 2 frames at a time")
    expect(page.locator("#summary .outlook")).to_have_count(0)
    visit.shot("light-obstacle")
    remedy.focus()
    page.keyboard.press("Enter")
    undo = page.locator("#obstacle [data-act=unremedy]")
    expect(page.locator("#obstacle")).to_contain_text("Memory: auto → 6gb", timeout=WAIT)
    expect(undo).to_be_focused()
    expect(page.locator("#summary .outlook")).to_contain_text("6.9 of 8 GB", timeout=WAIT)
    expect(profile).to_have_text("6gb")
    page.keyboard.press("Enter")
    expect(remedy).to_be_visible(timeout=WAIT)
    expect(profile).to_have_text("auto")
    expect(visit.dial("decode_chunk_size")).to_have_value("")


def test_what_a_remedy_changed_is_not_said_for_ever(visit: Visit) -> None:
    visit.dial("num_frames").fill("25")
    visit.page.locator("#obstacle [data-act=remedy]").click(timeout=WAIT)
    expect(visit.page.locator("#obstacle .changed")).to_be_visible(timeout=WAIT)
    visit.page.click("#quality-and-speed button")
    visit.page.click("#dial-profile label:has-text('4gb')")
    expect(visit.page.locator("#obstacle .changed")).to_have_count(0, timeout=WAIT)


def test_a_wall_plays_and_a_tile_becomes_the_full_clip(visit: Visit, photo: Path) -> None:
    page = visit.page
    make_wall(visit, photo, seed=12)
    wall = newest(visit)
    assert wall.request.wall is not None
    assert (wall.request.speed, wall.request.wall.seeds, wall.request.wall.motion_bucket_ids) == ("draft", 2, (40, 200))
    page.wait_for_function(
        "[...document.querySelectorAll('.tile video')].every((v) => v.currentTime > 0.1 && v.muted && v.loop)"
    )
    expect(page.locator(".history .job.on .badge")).to_have_text("Wall 2 × 2")
    tile = page.get_by_role("button", name="seed 13, motion\u00a0200: render in full")
    tile.focus()
    page.keyboard.press("Enter")
    visit.finished()
    full = newest(visit)
    assert (full.request.wall, full.request.seed, full.request.motion_bucket_id) == (None, 13, 200)
    assert (full.request.speed, full.request.image) == ("exact", wall.request.image)
    expect(visit.dial("seed")).to_have_value("13")
    expect(visit.dial("motion_bucket_id")).to_have_value("200")
    expect(page.locator("#dial-speed label.selected")).to_contain_text("Full quality")

    page.click(".stage [data-act=view]")
    expect(page.locator(".stage-finished .tile")).to_have_count(4, timeout=WAIT)
    assert page.url.endswith(wall.id)


def test_the_dials_of_a_tile_are_taken_over_without_a_run(visit: Visit, photo: Path) -> None:
    make_wall(visit, photo, seed=70)
    before = count(visit)
    visit.page.locator(".tile [data-act=dials]").nth(1).click()
    expect(visit.page.locator("#stage-notice")).to_contain_text("seed 70 and motion 200", timeout=WAIT)
    expect(visit.dial("motion_bucket_id")).to_have_value("200")
    expect(visit.page.locator(".stage-finished .tile")).to_have_count(4)
    assert count(visit) == before


def test_a_wall_comes_back_from_the_history(visit: Visit, photo: Path) -> None:
    page = visit.page
    make_wall(visit, photo, seed=5, seeds=1, motions="20, 90, 250")
    visit.dial("wall_seeds").fill("3")
    page.fill("#dial-wall_motions :is(input, textarea)", "127")
    card = page.locator(".history .job.on")
    card.locator("[data-act=restore]").click()
    expect(page.locator("#wall-toggle button")).to_contain_text("1 × 3", timeout=WAIT)
    expect(page.locator("#dial-wall_motions :is(input, textarea)")).to_have_value("20, 90, 250")
    jobs = page.locator(".history .job")
    shown = jobs.count()
    card.locator("[data-act=remove]").click()
    expect(jobs).to_have_count(shown - 1)
    page.locator(".history [data-act=undo]").click()
    expect(jobs).to_have_count(shown)
    expect(page.locator(".history .job.on .badge")).to_have_text("Wall 1 × 3")


def test_a_wall_that_is_not_one_is_said_on_its_dial(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    page.click("#wall-toggle button")
    page.fill("#dial-wall_motions :is(input, textarea)", "40, 900")
    page.keyboard.press("Escape")
    expect(page.locator("#wall-choice")).to_be_hidden()
    before = count(visit)
    page.click("#draft-wall")
    expect(page.locator("#dial-wall_motions")).to_contain_text("1 to 255", timeout=WAIT)
    expect(page.locator("#wall-choice")).to_be_visible()
    assert count(visit) == before


@pytest.mark.slow
def test_with_little_motion_a_tile_plays_only_while_it_has_the_focus(
    browser: sync_api.Browser, served: Served, photo: Path
) -> None:
    with Visit(browser, served, reduced_motion="reduce") as visit:
        make_wall(visit, photo, seed=30)
        page = visit.page
        page.wait_for_function("[...document.querySelectorAll('.tile video')].every((v) => v.readyState >= 2)")
        assert page.evaluate("[...document.querySelectorAll('.tile video')].every((v) => v.paused)")
        page.locator(".tile-full").nth(2).focus()
        page.wait_for_function("!document.querySelectorAll('.tile video')[2].paused")
        page.locator(".tile-full").nth(1).focus()
        page.wait_for_function("document.querySelectorAll('.tile video')[2].paused")


def test_a_phone_shows_two_columns(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}
    with Visit(browser, served, **phone) as visit:
        make_wall(visit, photo, seed=40, motions="40, 127, 200")
        page = visit.page
        tops = page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => Math.round(tile.offsetTop))")
        assert [tops.count(top) for top in sorted(set(tops))] == [2, 2, 2]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator(".tile-full").first.tap()
        visit.finished()
        assert newest(visit).request.motion_bucket_id == 40
