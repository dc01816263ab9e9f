"""What somebody else's package gets, with no file of ours touched: a method, a post step and a checkpoint, a file each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from svd_ui.media.video import read_comment, read_frames

from .conftest import FILM, QUICK, App

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


def test_the_command_line_has_their_flags(app: App, alone: App) -> None:
    text = app("generate", "--help").stdout
    assert all(flag in text for flag in ("--wobble.amount", "--wobble", "--vignette.strength"))
    assert "wobble" not in alone("generate", "--help").stdout


def test_they_do_what_they_say(app: App, photo: Path, clip: Path) -> None:
    plain = app.folder / "plain.mp4"
    app("generate", photo, "-o", plain, *QUICK)
    with_both, without = read_frames(clip), read_frames(plain)
    assert with_both.shape == without.shape
    assert float(with_both[:, :20, :20].mean()) < 0.5 * float(without[:, :20, :20].mean()), "the corners are dark"
    middle = (slice(None), slice(120, 170), slice(230, 280))
    assert float(np.abs(with_both[middle].astype(float) - without[middle]).mean()) < 60, "the middle is not"


def test_the_method_changes_the_clip(app: App, photo: Path) -> None:
    made = []
    for amount in ("0", "1"):
        path = app.folder / f"wobble-{amount}.mp4"
        app("generate", photo, "-o", path, *QUICK, "--method", "wobble", "--wobble.amount", amount)
        made.append(read_frames(path).astype(float))
    assert float(np.abs(made[0] - made[1]).max()) > 2


def test_a_wrong_value_gets_a_sentence(app: App, photo: Path) -> None:
    said = app("generate", photo, *QUICK, "--wobble.amount", "2", code=2).stderr
    assert "Wobble amount must be a number from 0 to 1; 2.0 is not." in " ".join(said.split())


def test_the_settings_inside_the_file_bring_both_back(app: App, clip: Path) -> None:
    inside = json.loads(read_comment(clip) or "{}")["request"]
    assert (inside["method"]["kind"], inside["post"][0]["kind"]) == ("wobble", "vignette")
    again = app.folder / "again.mp4"
    status = json.loads(app("generate", "--from", clip, "-o", again, "--json").stdout)
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


def test_when_the_package_is_gone_its_clips_open_and_it_is_named(app: App, alone: App, clip: Path) -> None:
    said = alone("generate", "--from", clip, "-o", "gone.mp4")
    text = " ".join(said.stderr.split())
    assert "method wobble" in text
    assert "post vignette" in text
    assert len(read_frames(app.folder / "gone.mp4")) == FILM
    assert "finished" in alone("history").stdout


def test_plug_ins_can_be_left_out(app: App, clip: Path) -> None:
    off = App(app.folder, app.sites, (("SVD_UI_PLUGINS", "off"),))
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


def test_a_checkpoint_of_theirs_is_in_the_catalogue(app: App, photo: Path) -> None:
    assert "stranger:twin" in app("models", "list").stdout
    path = app.folder / "twin.mp4"
    options = ["--checkpoint", "stranger:twin", "--num-inference-steps", "2", "--seed", "1"]
    app("generate", photo, "-o", path, *options)
    assert len(read_frames(path)) == 25, "its own 6 key frames, 5 a second, played at 24"


def test_a_family_of_theirs_samples_its_own_way(app: App, photo: Path) -> None:
    moved = []
    for checkpoint in ("nano", "stranger:calm"):
        path = app.folder / f"{checkpoint.replace(':', '-')}.mp4"
        app("generate", photo, "-o", path, *QUICK, "--checkpoint", checkpoint, "--motion-bucket-id", "255")
        frames = read_frames(path).astype(float)
        moved.append(float(np.abs(frames[-1] - frames[0]).mean()))
    assert moved[1] < 0.9 * moved[0]
