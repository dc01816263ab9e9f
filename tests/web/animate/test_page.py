"""The page as a person meets it: Chromium walks the main path over the real job service and a fake engine."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.catalog import nano_row
from svd_ui.errors import OutOfMemory
from svd_ui.presets import ASPECTS, presets
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
NATIVE = nano_row()
UPRIGHT, _ = NATIVE.size_for(9 / 16)
SOURCE = NATIVE.size_for(4 / 3)
"""The size of the photograph's clip."""


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=4, delay=0.15, settings=settings))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    served.engine.gate, served.engine.fail = None, None
    with Visit(browser, served) as visit:
        yield visit


def test_the_main_path(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.shot("light-start")
    visit.choose(photo)
    exact = page.locator("#finder .exact")
    expect(page.locator("#aspect label.selected")).to_have_text("Source")
    expect(exact).to_have_js_property("naturalWidth", SOURCE[0])
    expect(exact).to_have_js_property("naturalHeight", SOURCE[1])
    visit.dial("seed").fill("7")
    visit.dial("num_inference_steps").fill("40")  # long enough to be looked at on a busy machine
    visit.served.engine.gate = gate = threading.Event()
    visit.animate()
    expect(page.locator(".stage-running")).to_be_visible(timeout=WAIT)
    gate.set()
    expect(page.locator(".stage .reel[style*='blob:']")).to_be_visible(timeout=WAIT)
    expect(page).to_have_title(re.compile(r"\d+% Animating"))
    visit.shot("light-running")
    visit.finished()
    expect(page).to_have_title(re.compile("Ready"))
    page.wait_for_function("document.querySelector('video.clip').currentTime > 0.1")
    assert page.evaluate("document.querySelector('video.clip').videoWidth") == SOURCE[0]
    assert page.evaluate("document.querySelector('video.clip').loop")
    visit.shot("light-finished")
    expect(page.locator(".history .job.on .cap")).to_contain_text(re.compile("^photoseed 7motion 127"))
    assert re.search(r"\?job=[0-9a-f]{32}$", page.url)

    # A refresh loses neither the clip, nor the picture, nor the form.
    page.reload()
    visit.finished()
    expect(page.locator("#finder .exact")).to_be_visible(timeout=WAIT)
    expect(visit.dial("seed")).to_have_value("7")

    # Settings come back from the history.
    visit.dial("seed").fill("123")
    page.locator(".history .job [data-act=restore]").first.click()
    expect(visit.dial("seed")).to_have_value("7")
    expect(page.locator("#history-notice")).to_contain_text("restored")

    # Delete, and change one's mind.
    count = page.locator(".history .job").count()
    page.locator(".history .job [data-act=remove]").first.click()
    expect(page.locator(".history .job")).to_have_count(count - 1)
    page.locator(".history [data-act=undo]").click()
    expect(page.locator(".history .job")).to_have_count(count)


def test_another_browser_opens_the_same_job(visit: Visit, browser: sync_api.Browser, photo: Path) -> None:
    visit.choose(photo)
    visit.served.engine.gate = gate = threading.Event()
    visit.animate()
    expect(visit.page.locator(".stage-running")).to_be_visible(timeout=WAIT)
    other = Visit(browser, visit.served, query="?" + visit.page.url.split("?")[1])
    expect(other.page.locator(".stage-running")).to_be_visible(timeout=WAIT)
    gate.set()
    other.finished()
    visit.finished()
    other.context.close()


def test_escape_stops_and_control_enter_runs(visit: Visit, photo: Path) -> None:
    visit.choose(photo)
    visit.served.engine.gate = threading.Event()
    visit.page.keyboard.press("Control+Enter")
    expect(visit.page.locator(".stage-running")).to_be_visible(timeout=WAIT)
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator(".stage-stopped")).to_be_visible(timeout=WAIT)
    visit.served.engine.gate.set()


def test_a_failure_is_a_card_with_retry_and_a_report_without_secrets(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    visit.served.engine.fail = OutOfMemory(
        doing="animating", remedy="Choose profile '8gb'. hf_abcdefgh12345 /home/ann/x"
    )
    visit.animate()
    card = page.locator(".card-error")
    expect(card).to_contain_text("Out of memory", timeout=WAIT)
    report = card.locator("[data-copy]").get_attribute("data-copy") or ""
    assert "out_of_memory" in report
    assert "hf_abc" not in report
    assert "/home/ann" not in report
    visit.shot("light-error")
    visit.served.engine.fail = None
    card.locator("[data-act=retry]").click()
    visit.finished()


def test_values_out_of_range_are_said_on_the_field(visit: Visit, photo: Path) -> None:
    visit.choose(photo)
    visit.dial("num_frames").fill("999")
    visit.animate()
    field = visit.page.locator("#dial-num_frames")
    expect(field).to_contain_text("from 2 to 64", timeout=WAIT)
    expect(field).to_have_class(re.compile("invalid"))
    expect(field.locator("input")).to_be_focused()
    visit.dial("num_frames").fill("6")
    visit.animate()
    visit.finished()
    expect(field).not_to_have_class(re.compile("invalid"))


def test_animate_without_a_picture_says_so(visit: Visit) -> None:
    visit.animate()
    expect(visit.page.locator("#notice")).to_contain_text("Choose a picture first", timeout=WAIT)


def test_the_crop_is_what_the_model_sees_and_moves(visit: Visit, photo: Path) -> None:
    """The picture on the page is, pixel for pixel, ``media.image.fit`` of the kept one."""
    import io

    import httpx
    from PIL import Image

    from svd_ui.assets import Assets
    from svd_ui.media.image import fit

    page = visit.page
    visit.choose(photo)
    page.click("#aspect label:has-text('9:16')")
    expect(page.locator("#finder .exact")).to_have_js_property("naturalWidth", UPRIGHT, timeout=WAIT)
    box = page.locator("#finder .source").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5)
    page.wait_for_function("Number(document.querySelector('#finder .source').dataset.x) > 0.85")
    expect(page.locator("#finder [data-act=reframe]")).to_be_visible(timeout=WAIT)
    page.wait_for_function("document.querySelector('#finder .exact').src.includes('x=0.9')")
    source = page.locator("#finder .exact").get_attribute("src") or ""
    shown = Image.open(io.BytesIO(httpx.get(visit.served.url + source).content))
    digest = source.split("still/")[1].split("?")[0]
    x, y = (float(re.search(rf"{axis}=([\d.]+)", source)[1]) for axis in "xy")  # type: ignore[index]
    kept = Assets.of(visit.served.settings).open(f"sha256:{digest}")
    assert shown.tobytes() == fit(kept, *shown.size, x, y).tobytes()


def test_arrow_keys_move_the_focus_and_choose_within_a_group(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.choose(photo)
    page.focus("#finder .source")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#finder .framing")).to_have_text("All of the picture")
    page.focus("#aspect input >> nth=0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#finder .exact")).to_have_js_property("naturalWidth", NATIVE.width, timeout=WAIT)
    y = float(page.locator("#finder .source").get_attribute("data-y") or 0)
    page.focus("#finder .source")
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    moved = re.compile(rf"y={y - 0.08:.3f}")
    expect(page.locator("#finder .exact")).to_have_attribute("src", moved, timeout=WAIT)
    page.focus("#aspect input >> nth=1")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#finder .exact")).to_have_js_property("naturalWidth", UPRIGHT, timeout=WAIT)


def crop_of(page: sync_api.Page) -> dict[str, float]:
    """Of the shown picture: left, top, right and bottom of the crop as shares, once it rests on an aspect."""
    return page.evaluate(
        """() => {
          const crop = document.querySelector('#finder .crop').style, share = (name) => parseFloat(crop[name]) / 100;
          const [left, top] = ['--x', '--y'].map((name) => parseFloat(crop.getPropertyValue(name)));
          return { left, top, right: left + share('width'), bottom: top + share('height') };
        }"""
    )


def test_the_first_example_keeps_her_head_and_nothing_moves_with_the_aspect(visit: Visit) -> None:
    page = visit.page
    top = page.locator("#aspect").evaluate("e => e.getBoundingClientRect().top + scrollY")
    page.click("#door .thumb >> nth=0")
    sides = {"Source": (384, 384), **{name: NATIVE.size_for(ratio) for name, ratio in ASPECTS.items()}}
    for aspect, (width, height) in sides.items():
        page.click(f"#aspect label:has-text('{aspect}')")
        expect(page.locator("#finder figcaption b")).to_have_text(f"{width} × {height}", timeout=WAIT)
        crop = crop_of(page)
        assert crop["left"] < 165 / 512 and crop["right"] > 285 / 512, aspect
        assert crop["top"] < 12 / 512 and crop["bottom"] > 178 / 512, aspect
        said = "All of the picture" if aspect in ("Source", "1:1") else "Framed on the subject"
        expect(page.locator("#finder .framing")).to_have_text(said)
        expect(page.locator("#finder .drag")).to_have_count(0 if aspect in ("Source", "1:1") else 1)
        assert page.locator("#aspect").evaluate("e => e.getBoundingClientRect().top + scrollY") == top, aspect


def drag(page: sync_api.Page, by: float) -> None:
    """The crop, down by that share of the picture, from the middle of the crop."""
    box, crop = page.locator("#finder .source").bounding_box(), crop_of(page)
    assert box
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] * (crop["top"] + crop["bottom"]) / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + box["height"] * by / 2)
    page.mouse.move(x, y + box["height"] * by)
    page.mouse.up()


def test_a_drag_moves_the_crop_and_one_button_takes_it_back(visit: Visit) -> None:
    page = visit.page
    page.click("#door .thumb >> nth=0")
    page.click("#aspect label:has-text('16:9')")
    expect(page.locator("#finder .drag")).to_have_text("Drag to reframe", timeout=WAIT)
    before = crop_of(page)
    drag(page, 0.25)
    reset = page.locator("#finder [data-act=reframe]")
    expect(reset).to_be_visible(timeout=WAIT)
    moved = crop_of(page)
    assert moved["top"] == pytest.approx(before["top"] + 0.25, abs=0.02), "by as much as it was dragged"

    # It stays for this picture at every aspect and after a refresh, and goes into the clip.
    page.click("#aspect label:has-text('4:5')")
    expect(page.locator("#finder figcaption b")).not_to_contain_text("288", timeout=WAIT)
    page.click("#aspect label:has-text('16:9')")
    expect(page.locator("#finder figcaption b")).to_have_text("512 × 288", timeout=WAIT)
    page.reload()
    expect(reset).to_be_visible(timeout=WAIT)
    assert crop_of(page) == moved
    visit.animate()
    visit.finished()
    asked = visit.served.jobs.history(limit=1)[0].request
    assert asked.focus_y == pytest.approx((moved["top"] + moved["bottom"]) / 2, abs=0.002)

    reset.click()
    expect(page.locator("#finder .framing")).to_have_text("Framed on the subject", timeout=WAIT)
    assert crop_of(page) == before
    expect(page.locator("#finder .source")).to_be_focused()

    # The clip brings its own crop back; another picture has its own subject.
    page.locator(".history .job [data-act=restore]").first.click()
    expect(reset).to_be_visible(timeout=WAIT)
    assert crop_of(page) == moved
    page.click("#finder [data-act=clear]")
    page.click("#door .thumb >> nth=2")
    expect(page.locator("#finder .framing")).to_have_text("Framed on the subject", timeout=WAIT)


def test_a_finger_drags_the_crop_and_scrolls_the_page_along_the_other_side(
    browser: sync_api.Browser, served: Served
) -> None:
    with Visit(browser, served, viewport={"width": 390, "height": 844}, has_touch=True) as visit:
        page = visit.page
        page.tap("#door .thumb >> nth=0")
        source = page.locator("#finder .source")
        for aspect, slides, touch in (("9:16", "across", "pan-y"), ("16:9", "down", "none"), ("Source", "", "auto")):
            page.tap(f"#aspect label:has-text('{aspect}')")
            expect(source).to_have_attribute("data-slides", slides, timeout=WAIT)
            assert source.evaluate("e => getComputedStyle(e).touchAction") == touch
        page.tap("#aspect label:has-text('9:16')")
        expect(page.locator("#finder .drag")).to_be_visible(timeout=WAIT)
        source.scroll_into_view_if_needed()
        before, at = crop_of(page), page.evaluate("scrollY")
        finger(page, 0, -120)
        page.wait_for_function(f"Math.abs(scrollY - {at}) > 40")
        assert crop_of(page) == pytest.approx(before, abs=1e-3), "the browser rounds otherwise than the server"
        expect(page.locator("#finder .framing")).to_have_text("Framed on the subject")
        source.scroll_into_view_if_needed()
        finger(page, 60, 0)
        expect(page.locator("#finder [data-act=reframe]")).to_be_visible(timeout=WAIT)
        assert crop_of(page)["left"] > before["left"] + 0.1


def finger(page: sync_api.Page, right: float, down: float) -> None:
    """One that touches the middle of the crop and is drawn so many pixels away."""
    box = page.locator("#finder .source").bounding_box()
    assert box
    crop = crop_of(page)
    x = box["x"] + box["width"] * (crop["left"] + crop["right"]) / 2
    y = box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)
    for step in range(9):
        point = {"x": x + right * step / 8, "y": y + down * step / 8}
        kind = "touchMove" if step else "touchStart"
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_clip_dropped_on_the_page_restores_its_settings(visit: Visit, photo: Path, tmp_path: Path) -> None:
    page = visit.page
    visit.choose(photo)
    visit.dial("seed").fill("4242")
    visit.dial("fps").fill("9")
    visit.animate()
    visit.finished()
    with page.expect_download() as download:
        page.click(".stage a.strong")
    clip = tmp_path / download.value.suggested_filename
    assert clip.name.endswith("-4242.mp4")
    download.value.save_as(clip)
    settings = page.locator(".stage [data-done='Settings copied']").get_attribute("data-copy") or ""
    (tmp_path / "settings.json").write_text(settings)
    assert json.loads(settings)["request"]["fps"] == 9
    for name in (clip.name, "settings.json"):
        visit.dial("seed").fill("1")
        page.set_input_files("#door input[type=file]", tmp_path / name)
        expect(visit.dial("seed")).to_have_value("4242", timeout=WAIT)
        expect(visit.dial("fps")).to_have_value("9")


def test_bad_uploads_get_one_sentence_and_lose_nothing(visit: Visit, photo: Path, tmp_path: Path) -> None:
    visit.choose(photo)
    bad = tmp_path / "notes.jpg"
    bad.write_text("not a picture")
    visit.page.set_input_files("#door input[type=file]", bad)
    expect(visit.page.locator("#still-notice .bad")).to_be_visible(timeout=WAIT)
    expect(visit.page.locator("#still-notice")).not_to_contain_text("Traceback")
    expect(visit.page.locator("#finder .exact")).to_be_visible()


def test_several_pictures_and_seeds_make_one_clip_each(visit: Visit, photo: Path, tmp_path: Path) -> None:
    from PIL import Image

    second = tmp_path / "second.png"
    Image.new("RGB", (90, 160), "teal").save(second)
    before = len(visit.served.jobs.history(limit=100))
    visit.choose(photo, second)
    expect(visit.page.locator("#finder .strip")).to_contain_text("2 pictures")
    visit.dial("seeds").fill("2")
    expect(visit.page.locator("#summary")).to_contain_text("4 clips", timeout=WAIT)
    visit.shot("light-advanced")
    visit.animate()
    visit.finished()
    made = visit.served.jobs.history(limit=100)
    assert len(made) - before == 4
    assert len({job.request.image for job in made[:4]}) == 2
    assert len({job.request.seed for job in made[:4]}) == 4


def test_presets_fill_the_form_and_spare_what_was_set(visit: Visit, photo: Path) -> None:
    page, portrait = visit.page, presets()["portrait"].of(NATIVE)
    page.click("#preset label:has-text('Portrait')")
    expect(visit.dial("motion_bucket_id")).to_have_value(str(portrait.values["motion_bucket_id"]), timeout=WAIT)
    expect(page.locator("#aspect label.selected")).to_have_text("4:5")
    visit.dial("motion_bucket_id").fill("200")
    visit.dial("motion_bucket_id").blur()
    page.click("#preset label:has-text('Artwork')")
    expect(page.locator("#aspect label.selected")).to_have_text("Source", timeout=WAIT)
    expect(visit.dial("motion_bucket_id")).to_have_value("200")


def test_a_missing_checkpoint_is_offered_with_its_licence(visit: Visit) -> None:
    page = visit.page
    page.click("#dial-checkpoint label:has-text('SVD-XT (25')")
    offer = page.locator("#offer .offer")
    expect(offer).to_contain_text("Download 4.5 GB", timeout=WAIT)
    expect(offer.locator("a")).to_have_attribute("href", re.compile("^https://stability.ai"))
    expect(page.locator(".foot .powered")).to_have_text("Powered by Stability AI")
    expect(visit.dial("num_frames")).to_have_attribute("placeholder", "25")
    visit.shot("light-offer")


def test_the_prompt_side_counts_and_offers_its_model(visit: Visit) -> None:
    page = visit.page
    page.click("#source label:has-text('Prompt')")
    page.fill("#dial-prompt textarea", "A lighthouse at dusk")
    expect(page.locator(".counter")).to_have_text("20 / 500")
    expect(page.locator("#still-offer .offer")).to_contain_text("Download 2.6 GB", timeout=WAIT)
    assert page.evaluate("document.querySelector('#dial-prompt textarea').maxLength") == 500
    visit.shot("light-prompt")


def test_a_prompt_becomes_a_still_then_a_clip(browser: sync_api.Browser, uploads: None, tmp_path: Path) -> None:
    (tmp_path / "maker").mkdir()
    (tmp_path / "maker" / "model_index.json").write_text("{}")
    settings = Settings(data_dir=tmp_path / "data", text_to_image=str(tmp_path / "maker"), checkpoint="nano")
    for served in serving(settings, FakeEngine(steps=2, delay=0.05, settings=settings)):
        visit = Visit(browser, served)
        page = visit.page
        page.click("#source label:has-text('Prompt')")
        page.fill("#dial-prompt textarea", "A lighthouse at dusk")
        page.click("#make-still")
        expect(page.locator("#finder .exact")).to_be_visible(timeout=WAIT)
        visit.shot("light-still")
        visit.animate()
        visit.finished()
        clip, still = served.jobs.history(limit=5)
        assert (still.kind, still.request.prompt) == ("still", "A lighthouse at dusk")
        assert still.result
        assert clip.request.image == still.result.image
        # The picture side starts empty-handed again once the still is taken away.
        page.click("#finder [data-act=clear]")
        expect(page.locator("#finder .exact")).to_be_hidden(timeout=WAIT)
        visit.animate()
        expect(page.locator(".history .job")).to_have_count(3, timeout=WAIT)
        visit.finished()
        assert served.jobs.history(limit=1)[0].request.prompt == "A lighthouse at dusk"
        visit.context.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: sync_api.Browser, served: Served, photo: Path, scheme: str
) -> None:
    visit = Visit(browser, served, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    visit.choose(photo)
    visit.shot(f"{scheme}-phone")
    visit.animate()
    visit.finished()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.shot(f"{scheme}-phone-finished")
    visit.context.close()


def test_dark_mode_and_reduced_motion(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    visit = Visit(browser, served, color_scheme="dark", reduced_motion="reduce")
    visit.choose(photo)
    visit.animate()
    visit.finished()
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("document.querySelector('video.clip').paused")
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 17, 22)"
    visit.shot("dark-finished")
    visit.context.close()
