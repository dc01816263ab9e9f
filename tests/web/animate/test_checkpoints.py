"""Going from one checkpoint to another, in Chromium: what stays, what is its own, what fits a machine without a card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.catalog import nano_row
from svd_ui.engine import Device, Estimate
from svd_ui.events import CancelToken, Event
from svd_ui.presets import presets
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
NANO = nano_row()
XT = "SVD-XT (25"


class Processor(FakeEngine):
    """Two days for a clip, but for nano's; what is blank is nano's."""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return super().generate(request.resolved(NANO.defaults(request.speed)), out, cancel)

    def estimate(self, request: GenerationRequest) -> Estimate:
        slow = request.checkpoint.startswith("svd")
        return Estimate(seconds=2 * 86400.0 if slow else 8.0, basis="computed", profile="cpu", fits=True)


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    cpu = Device(kind="cpu", name="Fake processor", total_bytes=16 * 2**30, profile="cpu")
    yield from serving(settings, Processor(delay=0.02, settings=settings, device=cpu))


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    with Visit(browser, served) as visit:
        yield visit


def choose(visit: Visit, title: str) -> None:
    visit.page.click(f"#dial-checkpoint label:has-text('{title}')")


def test_restored_settings_leave_to_the_checkpoint_what_it_sets_itself(visit: Visit, photo: Path) -> None:
    visit.choose(photo)
    visit.dial("seed").fill("7")
    visit.dial("fps").fill("9")
    visit.animate()
    visit.finished()
    made = visit.served.jobs.history(limit=1)[0]
    assert made.result is not None and made.result.request.num_frames == NANO.num_frames
    visit.dial("fps").fill("11")
    visit.page.locator(".history .job [data-act=restore]").first.click()
    expect(visit.dial("fps")).to_have_value("9")
    for name, value in (("num_frames", NANO.num_frames), ("num_inference_steps", NANO.num_inference_steps)):
        expect(visit.dial(name)).to_have_value("")
        expect(visit.dial(name)).to_have_attribute("placeholder", str(value))
    choose(visit, XT)
    expect(visit.dial("num_frames")).to_have_attribute("placeholder", "25", timeout=WAIT)
    expect(visit.page.locator("#offer .changed")).to_contain_text("Model FPS 9 instead of 7", timeout=WAIT)


def test_values_of_another_checkpoint_give_way_to_its_own_and_come_back(visit: Visit) -> None:
    page, said = visit.page, visit.page.locator("#offer .changed")
    visit.dial("num_frames").fill("14")
    visit.dial("num_inference_steps").fill("8")
    expect(said).to_have_count(0)
    choose(visit, XT)
    expect(said).to_contain_text("Frames 14 instead of 25, Steps 8 instead of 30", timeout=WAIT)
    visit.shot("light-own")
    visit.open()
    expect(said).to_contain_text("Frames 14 instead of 25", timeout=WAIT)
    page.focus("#offer [data-act=own]")
    page.keyboard.press("Enter")
    expect(visit.dial("num_frames")).to_have_value("", timeout=WAIT)
    expect(visit.dial("num_inference_steps")).to_have_value("")
    expect(said).to_contain_text("Frames: 14 → 25, Steps: 8 → 30", timeout=WAIT)
    expect(page.locator("#offer [data-act=unown]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(visit.dial("num_frames")).to_have_value("14", timeout=WAIT)
    expect(visit.dial("num_inference_steps")).to_have_value("8")
    visit.dial("num_frames").fill("20")
    expect(said).to_have_count(0, timeout=WAIT)


def test_what_a_clip_takes_and_what_fits_come_before_a_download(visit: Visit) -> None:
    page, offer = visit.page, visit.page.locator("#offer .offer")
    choose(visit, XT)
    expect(offer).to_contain_text("SVD-XT takes about 2 days a clip here", timeout=WAIT)
    expect(offer).to_contain_text(re.compile(r"What fits here is nano, about \d+ s a clip"))
    download = offer.locator("[data-act=fetch]")
    expect(download).to_be_hidden()
    offer.locator("summary").click()
    expect(download).to_be_visible()
    visit.shot("light-slow")
    page.focus("#offer [data-act=take]")
    page.keyboard.press("Enter")
    expect(page.locator("#dial-checkpoint label.selected")).to_contain_text("nano", timeout=WAIT)
    expect(offer).to_have_count(0, timeout=WAIT)
    expect(page.locator("#dial-checkpoint input[value=nano]")).to_be_focused()
    expect(page.locator("#summary")).to_contain_text("nano")


def test_a_preset_follows_the_checkpoint(visit: Visit) -> None:
    portrait, help = presets()["portrait"], visit.page.locator("#preset-help")
    visit.page.click("#preset label:has-text('Portrait')")
    expect(help).to_contain_text(portrait.of(NANO).description, timeout=WAIT)
    expect(visit.dial("motion_bucket_id")).to_have_value(str(portrait.of(NANO).values["motion_bucket_id"]))
    choose(visit, XT)
    expect(help).to_contain_text(portrait.description, timeout=WAIT)
    expect(visit.dial("motion_bucket_id")).to_have_value(str(portrait.values["motion_bucket_id"]))
    expect(visit.page.locator("#offer .changed")).to_have_count(0)
    visit.dial("motion_bucket_id").fill("99")
    choose(visit, "nano")
    expect(help).to_contain_text(portrait.of(NANO).description, timeout=WAIT)
    expect(visit.dial("motion_bucket_id")).to_have_value("99")


def test_help_is_the_checkpoints_also_after_an_error(visit: Visit, photo: Path) -> None:
    motion = visit.page.locator("#dial-motion_bucket_id")
    visit.choose(photo)
    expect(motion).to_contain_text("How far the camera moves")
    expect(visit.page.locator("#dial-num_frames")).to_contain_text("Key frames")
    visit.dial("fps").fill("99")
    visit.animate()
    expect(visit.page.locator("#dial-fps")).to_contain_text("1 to 30", timeout=WAIT)
    expect(motion).to_contain_text("How far the camera moves")
    choose(visit, XT)
    expect(motion).to_contain_text("How much moves", timeout=WAIT)
    expect(visit.page.locator("#dial-num_frames")).not_to_contain_text("Key frames")


def test_a_speed_says_its_time_and_the_clip_that_it_is_approximate(visit: Visit) -> None:
    visit.page.click("#dial-speed label:has-text('Draft')")
    expect(visit.page.locator("#summary")).to_contain_text("approximate", timeout=WAIT)
    expect(visit.page.locator("#dial-speed label").first).to_contain_text(re.compile(r"about \d+\ss"))
