"""The Train tab in a browser: clips go up, are looked through, a real run trains a tiny checkpoint, its LoRA is tried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from svd_ui.settings import Settings
from tests.clips.test_scan import mp4, pan
from tests.fakes import FakeEngine
from tests.tiny import save_tiny_svd
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, WAIT, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano", devices="cpu")
    save_tiny_svd(settings.models_dir / "tiny", channels=(32, 32))
    yield from serving(settings, FakeEngine(steps=4, delay=0.05, settings=settings))
    patch.undo()


@pytest.fixture
def visit(browser: sync_api.Browser, served: Served) -> Iterator[Visit]:
    with Visit(browser, served) as visit:
        yield visit


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that move, one that does not."""
    folder = tmp_path_factory.mktemp("clips")
    mp4(folder / "slow.mp4", pan(1, 8, 2))
    mp4(folder / "fast.mp4", pan(2, 8, 6))
    mp4(folder / "still.mp4", np.repeat(pan(3, 1, 0), 8, axis=0))
    return sorted(folder.iterdir())


def test_from_clips_to_a_lora_that_is_tried(visit: Visit, clips: list[Path], photo: Path) -> None:
    page = visit.page
    page.click("#tab-train")
    expect(page.locator("#train-start")).to_be_visible(timeout=WAIT)
    expect(page.locator("#main")).to_be_hidden()
    visit.shot("train-empty")

    page.set_input_files("#clips-door input[type=file]", clips)
    expect(page.locator("#clips-door")).to_contain_text("3 files in my clips", timeout=WAIT)
    page.locator("#train-checkpoint label", has_text="tiny").click()
    page.click("#train-look")
    looked = page.locator("#looked")
    expect(looked).to_contain_text("4 training clips of 4 frames", timeout=WAIT)
    expect(looked.locator(".stretches img")).to_have_count(4)
    looked.locator(".dropped summary").click()
    expect(looked.locator(".dropped")).to_contain_text("nothing moves")
    expect(looked.get_by_role("img", name=re.compile("Motion labels: .* from"))).to_be_visible()
    visit.shot("train-scanned")

    # A field at fault says so itself, and is given the focus.
    page.fill("#train-name textarea, #train-name input", "../away")
    page.click("#train-start")
    expect(page.locator("#train-name.invalid")).to_contain_text("letters, digits", timeout=WAIT)
    page.fill("#train-name textarea, #train-name input", "my pans")
    page.fill("#train-steps input", "4")
    page.fill("#train-rank input", "2")
    page.locator("#train-advanced button").first.click()
    page.fill("#train-sample_every input", "2")
    expect(page.locator("#train-cost")).to_contain_text("parameters", timeout=WAIT)
    page.click("#train-start")
    run = page.locator("#runs .run")
    expect(run).to_contain_text("my pans", timeout=WAIT)
    visit.shot("train-preparing")

    # A refresh changes nothing: the run is a process of its own, and the address says which tab it was.
    page.reload()
    expect(run.locator(".curve .mean")).to_be_visible(timeout=2 * WAIT)
    expect(run).to_contain_text("Finished", timeout=2 * WAIT)
    expect(run.locator(".samples video")).to_have_count(2)
    run.locator(".samples video").first.scroll_into_view_if_needed()  # a browser may wait to play what nobody sees
    page.wait_for_function("document.querySelector('.samples video').readyState > 1")
    visit.shot("train-finished")

    run.get_by_role("button", name="Try it").click()
    expect(page.locator("#loras .lora.on")).to_contain_text("my pans", timeout=WAIT)
    expect(page.locator("#train")).to_be_hidden()
    expect(page.locator("#dial-checkpoint label.selected")).to_contain_text("tiny")
    weight = page.get_by_label("Weight of my pans")
    weight.fill("0.5")
    expect(page.locator("#loras output")).to_have_text("0.50")
    visit.choose(photo)
    page.locator("#aspect label", has_text="1:1").click()  # its frames are 64 pixels wide, and no side may be smaller
    visit.shot("lora")
    visit.animate()
    visit.finished()
    (job,) = visit.served.jobs.history(limit=1)
    assert job.result is not None
    assert [(ref.name, ref.weight) for ref in job.result.request.loras] == [("my pans", 0.5)]
    assert job.result.request.checkpoint == "local:tiny"

    # The form keeps it, and a finished clip brings it back.
    page.reload()
    expect(page.locator("#loras .lora.on output")).to_have_text("0.50", timeout=WAIT)
    page.get_by_role("checkbox", name=re.compile("my pans")).uncheck()
    expect(page.locator("#loras .lora.on")).to_have_count(0, timeout=WAIT)
    page.locator(".history .job [data-act=restore]").first.click()
    expect(page.locator("#loras .lora.on output")).to_have_text("0.50", timeout=WAIT)

    # Deleting asks twice and leaves the LoRA.
    page.click("#tab-train")
    delete = run.get_by_role("button", name="Delete")
    delete.click()
    run.get_by_role("button", name="Delete for good?").click()
    expect(run).to_have_count(0, timeout=WAIT)
    assert (visit.served.settings.models_dir / "loras" / "my pans.safetensors").is_file()


def test_keys_of_the_other_tab_do_nothing(visit: Visit) -> None:
    page = visit.page
    page.click("#tab-train")
    expect(page.locator("#train-start")).to_be_visible(timeout=WAIT)
    before = len(visit.served.jobs.history(limit=9))
    page.fill("#train-name textarea, #train-name input", "")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#train-name.invalid")).to_contain_text("Name is needed", timeout=WAIT)
    assert len(visit.served.jobs.history(limit=9)) == before
    page.locator("#tab-train").press("ArrowLeft")
    expect(page.locator("#animate")).to_be_visible()
    assert "#train" not in page.url
