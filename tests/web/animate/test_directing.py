"""Directing in a browser: what is painted, drawn, pulled and dropped is in the request, and comes back with a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.methods import MethodParams
from svd_ui.methods.camera import Camera
from svd_ui.methods.drag import Drag
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.steering import camera, marks
from svd_ui.web.animate.directing import widget_of
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
CAMERA = next(name for name, info in Camera.model_fields.items() if widget_of(info) == "camera")


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=2, delay=0.01, settings=settings))


def direct(visit: Visit, kind: str) -> None:
    visit.page.click(f"#dial-method label:has-text('{kind}')")


def text(visit: Visit, field: str) -> sync_api.Locator:
    return visit.page.locator(f"#dial-method-{field} textarea")


def drag(visit: Visit, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of the picture to another, in shares of it."""
    box = visit.page.locator("canvas.marks").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    visit.page.mouse.move(*places[0])
    visit.page.mouse.down()
    visit.page.mouse.move(*places[1], steps=5)
    visit.page.mouse.up()


def paths(method: MethodParams) -> list[str]:
    """What its fields with a camera's path hold."""
    return [getattr(method, name) for name, info in type(method).model_fields.items() if widget_of(info) == "camera"]


def made(visit: Visit, count: int) -> GenerationRequest:
    """The request of the clip that Animate makes, the ``count``-th."""
    visit.animate()
    expect(visit.page.locator(".history .job video, .history .job[data-id]")).to_have_count(count)
    visit.finished()
    return visit.served.jobs.history(limit=1)[0].request


def test_marks_on_the_still_go_with_the_request_and_come_back(
    browser: sync_api.Browser, served: Served, photo: Path
) -> None:
    with Visit(browser, served) as visit:
        page, painted, drawn = visit.page, text(visit, "brush-strokes"), text(visit, "drag-arrows")
        visit.choose(photo)
        focus = page.locator("#finder .source").get_attribute("data-x")
        direct(visit, "Brush")
        expect(page.locator("#still.drawing")).to_be_visible()  # what one does next
        page.click("[data-tool=flow]")
        drag(visit, (0.2, 0.5), (0.7, 0.5))
        drag(visit, (0.2, 0.8), (0.7, 0.8))
        assert len(marks.read_strokes(painted.input_value())) == 2
        page.keyboard.press("Control+z")
        (stroke,) = marks.read_strokes(painted.input_value())
        assert stroke.points[0] == pytest.approx((0.2, 0.5), abs=0.01) and stroke.angle == 0
        page.click("[data-tool=redo]")
        assert len(marks.read_strokes(painted.input_value())) == 2
        page.click("[data-tool=undo]")
        assert page.locator("#finder .source").get_attribute("data-x") == focus  # the crop was not dragged

        direct(visit, "Drag")
        expect(page.locator(".tools-field[aria-pressed=true]")).to_have_text("Arrows")
        page.locator("canvas.marks").focus()
        for key in ("ArrowLeft", " ", *["ArrowRight"] * 5, " "):
            page.keyboard.press(key)
        ((start, end),) = marks.read_arrows(drawn.input_value())
        assert (start, end) == (pytest.approx((0.48, 0.5)), pytest.approx((0.58, 0.5)))
        drag(visit, (0.58, 0.5), (0.8, 0.2))  # its end is taken elsewhere
        ((start, end),) = marks.read_arrows(drawn.input_value())
        assert (start, end) == (pytest.approx((0.48, 0.5)), pytest.approx((0.8, 0.2), abs=0.01))
        visit.shot("arrows")

        asked = made(visit, 1).method
        assert isinstance(asked, Drag) and marks.read_arrows(asked.arrows) == ((start, end),)
        direct(visit, "Brush")
        expect(painted).to_have_value(marks.written_strokes([stroke]))
        visit.open()  # what was painted outlives a reload
        expect(painted).to_have_value(marks.written_strokes([stroke]))
        expect(page.locator(".editor .marked").first).to_have_text("1 stroke")
        page.locator(".history .job [data-act=restore]").first.click()
        expect(drawn).to_have_value(asked.arrows)
        expect(page.locator(".editor.drawn .marked").first).to_have_text("1 arrow")


def test_the_camera_goes_by_chips_by_sliders_and_by_text(
    browser: sync_api.Browser, served: Served, photo: Path
) -> None:
    with Visit(browser, served) as visit:
        page, path = visit.page, text(visit, f"camera-{CAMERA}")
        visit.choose(photo)
        direct(visit, "Camera")
        pressed = page.locator(".move[aria-pressed=true]")
        expect(pressed).to_have_text(["push in"])
        expect(page.locator("#sketch .sketch")).to_contain_text("Sketch, not the clip")
        page.click(".move >> text='pan left'")
        page.locator(".pulls input").nth(1).fill("0.5")
        expect(path).to_have_value("push in, pan left*0.5")
        page.click("[data-ease=linear]")
        page.click("[data-key=add]")
        expect(path).to_have_value("0.5: push in, pan left*0.5; 1: push in, pan left*0.5, ease=linear")
        assert [time for time, _ in camera.read(path.input_value()).keys] == [0.5, 1]
        page.locator(".stop[aria-pressed=true]").press("ArrowRight")
        expect(path).to_have_value("0.52: push in, pan left*0.5; 1: push in, pan left*0.5, ease=linear")
        first = page.locator(".sketch-reel").get_attribute("data-reel")
        path.fill("orbit; handheld=0.4")
        expect(pressed).to_have_text(["orbit"])
        expect(page.locator("[data-handheld]")).to_have_value("0.4")
        expect(page.locator(".sketch-reel")).not_to_have_attribute("data-reel", first or "")
        reel = page.request.get(f"{served.url.rstrip('/')}/{page.locator('.sketch-reel').get_attribute('data-reel')}")
        assert reel.ok and reel.headers["content-type"] == "image/jpeg"
        path.fill("sideways")
        expect(page.locator(f"#dial-method-camera-{CAMERA}.invalid")).to_contain_text("The camera knows no 'sideways'")
        path.fill("tilt=0.1")
        expect(page.locator(f"#dial-method-camera-{CAMERA}.invalid")).to_have_count(0)
        expect(page.locator(".pulls i")).to_have_text("tilt")
        visit.shot("camera")
        count = page.locator(".history .job").count()
        asked = made(visit, count + 1).method
        assert isinstance(asked, Camera) and paths(asked) == ["tilt=0.1"]
        job = visit.served.jobs.history(limit=1)[0]
        expect(page.locator("#sketch .sketch")).to_be_hidden()  # what it drew is there
        path.fill("tilt=0.12")
        expect(page.locator("#sketch .sketch")).to_be_visible()  # now a small card over the clip
        page.click("#sketch [data-hide]")
        expect(page.locator("#sketch .sketch")).to_be_hidden()
        page.click("#stage [data-act=further][data-name=extend]")
        expect(page.locator("#dial-method label.selected")).to_have_text("Extend")
        expect(text(visit, "extend-camera")).to_have_value("tilt=0.1")
        assert visit.served.jobs.history(limit=2)[0].id == job.id  # nothing was started


@pytest.mark.slow
def test_a_second_picture_is_dropped_beside_the_first(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    with Visit(browser, served) as visit:
        page, end, between = visit.page, text(visit, "end_frame-image"), text(visit, "end_frame-keys")
        visit.choose(photo)
        still = page.locator("#finder .exact").get_attribute("src")
        direct(visit, "End frame")
        zone = page.locator("[data-widget=picture] .pic-drop")
        data = page.evaluate_handle(
            """async () => {
                const data = new DataTransfer(), canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 60 });
                canvas.getContext("2d").fillRect(0, 0, 40, 60);
                data.items.add(new File([await new Promise((done) => canvas.toBlob(done))], "end.png", { type: "image/png" }));
                return data;
            }"""
        )
        zone.dispatch_event("drop", {"dataTransfer": data})
        expect(page.locator("[data-widget=picture] img")).to_be_visible()
        ref = end.input_value()
        assert ref.startswith("sha256:")
        assert page.locator("#finder .exact").get_attribute("src") == still
        page.set_input_files("[data-widget=pictures] .pic[data-at='0'] input", photo)
        expect(page.locator("[data-widget=pictures] .pull output").first).to_have_text("50 %")
        page.locator("[data-widget=pictures] input[type=range]").first.fill("0.4")
        expect(between).to_have_value(f"0.4={between.input_value().split('=')[1]}")
        page.set_input_files("[data-widget=picture] input", {"name": "x.png", "mimeType": "image/png", "buffer": b"no"})
        expect(page.locator("#method-notice .bad")).to_be_visible()
        assert end.input_value() == ref
        page.click("[data-widget=picture] .x")
        expect(end).to_have_value("")


def test_what_is_said_fills_the_form(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    with Visit(browser, served) as visit:
        page, said = visit.page, visit.page.locator("#dial-say :is(input, textarea)")
        visit.choose(photo)
        said.fill("slow push in, hold the background")
        said.press("Enter")
        chips = page.locator(".spoken-chip")
        expect(chips).to_have_count(2)
        expect(page.locator("#dial-method label.selected")).to_have_text("Lock")
        chips.filter(has_text="background").locator(".x").click()
        expect(chips).to_have_count(1)
        expect(page.locator("#dial-method label.selected")).to_have_text("Camera")
        expect(page.locator(".move[aria-pressed=true]")).to_have_text(["push in"])
