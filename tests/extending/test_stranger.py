"""What somebody else's package gets, with no file of ours touched: a method, a post step and a checkpoint, a file each.

The first clip is a command's own, made before any page runs. Later ones are made where the page is: nothing is loaded anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Page, expect, sync_playwright

from svd_ui.media.video import read_comment, read_frames
from tests.browser import FLAGS, chromium

from .conftest import FILM, QUICK, App, serving

WAIT = 120_000
STRANGER = ["--wobble.amount", "0.9", "--post", "vignette", "--vignette", "strength=1"]


@pytest.fixture(scope="module")
def clip(app: App, photo: Path) -> Path:
    """A clip made with the method and the step, and the status that was printed."""
    path = app.folder / "clip.mp4"
    done = app("generate", photo, "-o", path, *QUICK, *STRANGER, "--json")
    status = json.loads(done.stdout)
    assert status["request"]["method"] == {"kind": "wobble", "amount": 0.9}
    assert status["request"]["post"] == [{"kind": "vignette", "strength": 1.0}]
    return path


@pytest.fixture(scope="module")
def alone(app: App, clip: Path) -> App:
    """The same data folder, as it is once there is a clip, after the package was removed."""
    return App(shutil.copytree(app.folder, app.folder.with_name("alone")))


@pytest.fixture(scope="module")
def served(app: App, alone: App) -> Iterator[str]:
    """The address of the page; not before the data folder was copied."""
    with serving(app) as url:
        yield url


@pytest.fixture
def running(app: App, served: str) -> App:
    """``app`` while its page runs."""
    return app


def test_the_command_line_has_their_flags(app: App, alone: App) -> None:
    text = app("generate", "--help").stdout
    assert all(flag in text for flag in ("--wobble.amount", "--wobble", "--vignette.strength"))
    assert "wobble" not in alone("generate", "--help").stdout


def test_they_do_what_they_say(running: App, photo: Path, clip: Path) -> None:
    plain = running.folder / "plain.mp4"
    running("generate", photo, "-o", plain, *QUICK)
    with_both, without = read_frames(clip), read_frames(plain)
    assert with_both.shape == without.shape
    assert float(with_both[:, :20, :20].mean()) < 0.5 * float(without[:, :20, :20].mean()), "the corners are dark"
    middle = (slice(None), slice(120, 170), slice(230, 280))
    assert float(np.abs(with_both[middle].astype(float) - without[middle]).mean()) < 60, "the middle is not"


def test_the_method_changes_the_clip(running: App, photo: Path) -> None:
    made = []
    for amount in ("0", "1"):
        path = running.folder / f"wobble-{amount}.mp4"
        running("generate", photo, "-o", path, *QUICK, "--method", "wobble", "--wobble.amount", amount)
        made.append(read_frames(path).astype(float))
    assert float(np.abs(made[0] - made[1]).max()) > 2


def test_a_wrong_value_gets_a_sentence(app: App, photo: Path) -> None:
    said = app("generate", photo, *QUICK, "--wobble.amount", "2", code=2).stderr
    assert "Wobble amount must be a number from 0 to 1; 2.0 is not." in " ".join(said.split())


def test_the_settings_inside_the_file_bring_both_back(running: App, clip: Path) -> None:
    inside = json.loads(read_comment(clip) or "{}")["request"]
    assert (inside["method"]["kind"], inside["post"][0]["kind"]) == ("wobble", "vignette")
    again = running.folder / "again.mp4"
    status = json.loads(running("generate", "--from", clip, "-o", again, "--json").stdout)
    assert (status["request"]["method"], status["request"]["post"]) == (inside["method"], inside["post"])
    assert np.array_equal(read_frames(clip), read_frames(again)), "the same clip"


def test_a_preset_may_use_them(app: App) -> None:
    facts = app.facts(
        "from svd_ui.presets import presets\n"
        "from pathlib import Path\n"
        "Path('mine').mkdir(exist_ok=True)\n"
        "values = {'method': {'kind': 'wobble', 'amount': 0.1}, 'post': [{'kind': 'vignette'}]}\n"
        "Path('mine/mine.json').write_text(json.dumps({'title': 'Mine', 'description': 'Of my own.', 'values': values}))\n"
        "facts = presets(Path('mine'))['mine'].values"
    )
    assert facts == {"method": {"kind": "wobble", "amount": 0.1}, "post": [{"kind": "vignette"}]}


def test_what_it_costs_is_predicted(app: App) -> None:
    work, keys = app.facts(
        "from svd_ui.catalog import nano_row\n"
        "from svd_ui.catalog.costs import denoising_flops\n"
        "from svd_ui.clip import ClipSpec\n"
        "from svd_ui.jobs.timing_key import key_of\n"
        "from svd_ui.request import GenerationRequest\n"
        "kinds = [{}, {'method': {'kind': 'wobble'}}, {'post': [{'kind': 'vignette'}]}, {'post': [{'kind': 'boomerang'}]}]\n"
        "clips = [ClipSpec.of(GenerationRequest.model_validate({'seed': 1, **kind}), nano_row()) for kind in kinds]\n"
        "facts = [[denoising_flops(clip) for clip in clips], [str(key_of(clip, 'clip', from_prompt=False)) for clip in clips]]"
    )
    assert work[1] == 2 * work[0]
    assert work[2] == work[0]
    assert len(set(keys)) == 4, "each learns its own time"


def test_when_the_package_is_gone_its_clips_open_and_it_is_named(alone: App, clip: Path) -> None:
    said = alone("generate", "--from", clip, "-o", "gone.mp4")
    text = " ".join(said.stderr.split())
    assert "method wobble" in text
    assert "post vignette" in text
    assert len(read_frames(alone.folder / "gone.mp4")) == FILM
    assert "finished" in alone("history").stdout


def test_plug_ins_can_be_left_out(app: App) -> None:
    off = replace(app, more=(("SVD_UI_PLUGINS", "off"),))
    assert "wobble" not in off("generate", "--help").stdout
    assert json.loads(off("doctor", "--json").stdout)["plugins"] == []


def test_doctor_lists_what_was_found_and_where(app: App) -> None:
    found = {(one["group"], one["name"]): one for one in json.loads(app("doctor", "--json").stdout)["plugins"]}
    assert set(found) == {
        ("svd_ui.methods", "wobble"), ("svd_ui.post", "vignette"), ("svd_ui.checkpoints", "twin"),
        ("svd_ui.checkpoints", "calm"),
    }  # fmt: skip
    assert {one["package"] for one in found.values()} == {"stranger 1.0"}
    assert {one["trouble"] for one in found.values()} == {""}
    assert "stranger 1.0" in app("doctor").stdout


def test_a_checkpoint_of_theirs_is_in_the_catalogue(running: App, photo: Path) -> None:
    assert "stranger:twin" in running("models", "list").stdout
    path = running.folder / "twin.mp4"
    options = ["--checkpoint", "stranger:twin", "--num-inference-steps", "2", "--seed", "1"]
    running("generate", photo, "-o", path, *options)
    assert len(read_frames(path)) == 25, "its own 6 key frames, 5 a second, played at 24"


def test_a_family_of_theirs_samples_its_own_way(running: App, photo: Path) -> None:
    moved = []
    for checkpoint in ("nano", "stranger:calm"):
        path = running.folder / f"{checkpoint.replace(':', '-')}.mp4"
        running("generate", photo, "-o", path, *QUICK, "--checkpoint", checkpoint, "--motion-bucket-id", "255")
        frames = read_frames(path).astype(float)
        moved.append(float(np.abs(frames[-1] - frames[0]).mean()))
    assert moved[1] < 0.9 * moved[0]


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
