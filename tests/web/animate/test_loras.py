"""LoRAs on the page, in a browser: any name is chosen, weighed, kept over a reload, and comes back with a clip's settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from svd_ui.request import LoraRef
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

sync_api = pytest.importorskip("playwright.sync_api")
from tests.web.visit import MARKS, Visit  # noqa: E402  (only where there is Playwright)

pytestmark = MARKS
expect = sync_api.expect
NAMES = ["a, b:1", "style/slow pan (1)", "[v2]", 'Anna\'s "best" <b>', "ünï = 人"]


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint="nano")
    pair = {
        "mid_block.x.lora_A.weight": np.zeros((8, 4), np.float32),
        "mid_block.x.lora_B.weight": np.zeros((4, 8), np.float32),
    }
    for name in NAMES:
        path = settings.models_dir / "loras" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(pair | {"mid_block.x.alpha": np.full((), 4, np.float32)} if name == "[v2]" else pair, path)
    for index in range(5):
        save_file({"lora_unet_x.hada_w1_a": np.zeros(1)}, path.with_name(f"loha {index}.safetensors"))
    yield from serving(settings, FakeEngine(steps=2, delay=0.01, settings=settings))


def test_loras_of_any_name(browser: sync_api.Browser, served: Served, photo: Path) -> None:
    with Visit(browser, served) as visit:
        page, rows = visit.page, visit.page.locator("#loras .lora")
        expect(rows.filter(has_text="Strength unknown")).to_have_count(4)
        expect(rows.filter(has_text="rank 8, alpha 4")).to_have_count(1)
        expect(page.locator("#loras summary")).to_have_text("5 files cannot be used")
        for count, name in enumerate(NAMES, 1):
            rows.filter(has=page.locator("b", has_text=name)).locator("input[type=checkbox]").check()
            expect(page.locator("#loras .lora.on")).to_have_count(count)
        weighed = page.locator("#loras .lora.on", has_text="a, b:1")
        weighed.locator("input[type=range]").fill("0.5")
        expect(weighed).to_contain_text("alpha is taken to be its rank")
        visit.shot("loras")
        visit.choose(photo)
        visit.animate()
        visit.finished()
        job = served.jobs.history(limit=1)[0]
        wanted = {LoraRef(name=name, weight=0.5 if name == "a, b:1" else 1) for name in NAMES}
        assert set(job.request.loras) == wanted
        visit.open()
        expect(page.locator("#loras .lora.on")).to_have_count(len(NAMES))
        for name in NAMES:
            rows.filter(has=page.locator("b", has_text=name)).locator("input[type=checkbox]").uncheck()
        expect(page.locator("#loras .lora.on")).to_have_count(0)
        page.locator(".history .job [data-act=restore]").first.click()
        expect(page.locator("#loras .lora.on")).to_have_count(len(NAMES))
        expect(page.locator("#loras .lora.on", has_text="a, b:1").locator("output")).to_have_text("0.50")
