"""What somebody else's package gets on the page and over the API: editors, a clip, its settings back from the history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import FLAGS, chromium

WAIT = 120_000


@pytest.fixture(scope="module")
def page(served: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.goto(served)
        expect(page.locator("body[data-opened]")).to_be_attached(timeout=WAIT)
        yield page
        browser.close()


def test_the_api_tells_their_schema(served: str) -> None:
    schema = Client(served, verbose=False).predict(api_name="/schema")
    kinds = schema["$defs"]
    assert kinds["Wobble"]["properties"]["amount"]["maximum"] == 1
    assert "wobble" in schema["properties"]["method"]["discriminator"]["mapping"]
    assert "vignette" in schema["properties"]["post"]["items"]["discriminator"]["mapping"]


def test_the_api_takes_them(served: str, photo: Path) -> None:
    client = Client(served, verbose=False)
    method = {"kind": "wobble", "amount": 0.2}
    made = client.predict(
        image=handle_file(photo), method=method, post=[{"kind": "vignette"}], seed=1, num_frames=4,
        num_inference_steps=2, api_name="/generate",
    )  # fmt: skip
    assert made["state"] == "finished", made
    assert made["request"]["method"] == method
    assert made["request"]["post"] == [{"kind": "vignette", "strength": 0.5}]


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_the_page_has_their_editors_and_restores_them(page: Page, photo: Path) -> None:
    page.set_input_files("#door input[type=file]", photo)
    expect(page.locator("#finder .exact")).to_be_visible(timeout=WAIT)
    expect(page.get_by_label("Wobble amount").first).to_be_hidden()
    page.get_by_label("Wobble", exact=True).check()
    amount = page.locator("#dial-method-wobble-amount input[type=number]")
    expect(amount).to_be_visible(timeout=WAIT)
    amount.fill("0.9")
    amount.press("Tab")
    page.locator("#dial-num_frames input").fill("4")
    page.locator("#dial-num_inference_steps input").fill("2")
    page.get_by_text("Finishing").first.click()
    page.get_by_label("Vignette", exact=True).check()
    strength = page.locator("#dial-post-vignette-strength input[type=number]")
    expect(strength).to_be_visible(timeout=WAIT)
    strength.fill("1")
    strength.press("Tab")
    page.click("#animate")
    expect(page.locator("video.clip")).to_be_visible(timeout=WAIT)

    page.get_by_label("Plain", exact=True).check()
    page.get_by_label("Vignette", exact=True).uncheck()
    expect(amount).to_be_hidden(timeout=WAIT)
    page.locator("#history [data-act=restore]").first.click()
    expect(page.get_by_label("Wobble", exact=True)).to_be_checked(timeout=WAIT)
    expect(amount).to_have_value("0.9", timeout=WAIT)
    expect(page.get_by_label("Vignette", exact=True)).to_be_checked()
    expect(strength).to_have_value("1")
