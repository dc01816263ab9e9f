"""Pictures and clips that enter the form, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.errors import BadPicture
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY
from svd_ui.web.animate import stills
from svd_ui.web.animate.stills import (
    Still,
    Stills,
    aimed,
    checked,
    focus_of,
    framed,
    repainted,
    shaped,
    sought,
    take,
    with_clip,
)
from tests.media.files import clip


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets(tmp_path / "assets", max_bytes=10**8, max_pixels=10**8)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    (tmp_path / "up").mkdir()
    return tmp_path / "up"


@pytest.fixture
def video(uploads: Path) -> str:
    frames = np.zeros((10, 64, 96, 3), np.uint8) + (20 * np.arange(10, dtype=np.uint8))[:, None, None, None]
    clip(uploads / "clip.mp4", frames)
    return str(uploads / "clip.mp4")


def grey(assets: Assets, shown: Stills) -> float:
    return float(np.asarray(assets.open(stills.current(shown)["ref"])).mean())  # type: ignore[index]


def test_frames_of_a_clip_are_sought_by_their_number(assets: Assets, video: str) -> None:
    shown: Stills = {"items": take(assets, [video], "#ffffff")[0], "at": 0}
    assert shown["items"][0]["clip"] == {"frames": 10, "fps": 8.0, "index": 0}
    for index, kept in {4: 4, 9: 9, 99: 9, -3: 0}.items():
        shown = sought(assets, shown, index, "#ffffff")
        assert shown["items"][0]["clip"]["index"] == kept
        assert grey(assets, shown) == pytest.approx(20 * kept, abs=2)
    assert repainted(assets, sought(assets, shown, 4, "#ffffff"), "#000000")["items"][0]["clip"]["index"] == 4


def test_of_several_files_those_that_are_pictures_are_taken(assets: Assets, uploads: Path, video: str) -> None:
    (uploads / "empty.jpg").touch()
    (uploads / "notes.txt").write_text("milk, eggs")
    bad = [str(uploads / "empty.jpg"), str(uploads / "notes.txt")]
    items, left = take(assets, [bad[0], video, bad[1]], "#ffffff")
    assert [item["path"] for item in items] == [video]
    assert [line.split()[0] for line in left] == ["empty.jpg", "notes.txt"]
    assert "The file is empty." in left[0]
    with pytest.raises(BadPicture, match=r"empty.jpg was skipped.* notes.txt was skipped"):
        take(assets, bad, "#ffffff")
    with pytest.raises(BadPicture, match=r"^The file is empty\.$"):
        take(assets, bad[:1], "#ffffff")


def test_an_upload_that_is_gone_is_said(assets: Assets, video: str) -> None:
    shown: Stills = {"items": take(assets, [video], "#ffffff")[0], "at": 0}
    Path(video).unlink()
    with pytest.raises(BadPicture, match="is gone: add the file again"):
        sought(assets, shown, 3, "#ffffff")


def test_a_clip_beside_a_still_changes_it_only_when_a_frame_is_chosen(
    assets: Assets, uploads: Path, video: str
) -> None:
    Image.new("RGB", (50, 40), "red").save(uploads / "red.png")
    still = take(assets, [str(uploads / "red.png")], "#ffffff")[0][0]
    both = with_clip(assets, still, video)
    assert both["ref"] == still["ref"]
    assert both["clip"]["index"] is None
    shown: Stills = {"items": [both], "at": 0}
    assert repainted(assets, shown, "#00ff00")["items"][0]["ref"] == still["ref"]
    assert sought(assets, shown, 9, "#ffffff")["items"][0]["ref"] != still["ref"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        {},
        {"frames": "x", "fps": 8, "index": 0},
        {"frames": 4, "fps": 0, "index": 0},
        {"frames": 4, "fps": 8, "index": 4},
    ],
)
def test_what_a_browser_says_of_a_clip_is_checked(assets: Assets, video: str, value: Any) -> None:
    item = take(assets, [video], "#ffffff")[0][0]
    assert "clip" in checked(assets, {"items": [item], "at": 0})["items"][0]
    assert "clip" not in checked(assets, {"items": [{**item, "clip": value}], "at": 0})["items"][0]


# Where the crop is put


@pytest.fixture
def astronaut(assets: Assets) -> Still:
    return stills.add(assets, REPOSITORY / "benchmarks" / "data" / "astronaut.jpg", "#ffffff")


def test_a_crop_is_on_the_subject_until_somebody_moves_it(assets: Assets, astronaut: Still) -> None:
    size, blank = (512, 288), (None, None)
    (x, y), by_hand = focus_of(assets, astronaut, size, blank)
    assert (x, by_hand) == (0.5, False) and 0.2 < y < 0.3
    moved = aimed({"items": [astronaut], "at": 0}, (0.4, 0.7))
    assert focus_of(assets, moved["items"][0], size, blank) == ((0.4, 0.7), True)
    assert focus_of(assets, moved["items"][0], (288, 512), blank) == ((0.4, 0.7), True), "another aspect leaves it"
    assert focus_of(assets, moved["items"][0], size, (None, 0.1)) == ((0.4, 0.1), True)
    back = aimed(moved, None)
    assert focus_of(assets, back["items"][0], size, blank) == ((x, y), False)
    assert focus_of(assets, None, size, blank) == ((0.5, 0.5), False)


def test_each_of_several_pictures_has_its_own_crop(assets: Assets, astronaut: Still) -> None:
    both: Stills = {"items": [astronaut, astronaut], "at": 1}
    assert ["focus" in item for item in aimed(both, (0.1, 0.1))["items"]] == [False, True]


def test_settings_that_come_back_crop_as_they_did(assets: Assets, astronaut: Still) -> None:
    made = GenerationRequest(image=astronaut["ref"], width=512, height=288)
    by_itself = assets.focused(made, 512, 288)
    assert "focus" not in framed(assets, astronaut, by_itself), "left to the subject where that is the same"
    moved = made.model_copy(update={"focus_x": 0.5, "focus_y": 0.5})
    assert framed(assets, astronaut, moved)["focus"] == (0.5, 0.5)
    for still in (framed(assets, astronaut, by_itself), framed(assets, astronaut, moved)):
        (x, y), _ = focus_of(assets, still, (512, 288), (None, None))
        assert (x, y) in {by_itself.focus, moved.focus}
    whole = made.model_copy(update={"width": 512, "height": 512, "focus_x": 0.9, "focus_y": 0.1})
    assert "focus" not in framed(assets, astronaut, whole), "nothing was cut"


@pytest.mark.parametrize("focus", [None, "0.5", [0.5], [0.5, 2], [0.5, "x"], [float("nan"), 0.5], {}, [0.1, 0.2, 0.3]])
def test_a_focus_that_is_none_is_dropped(assets: Assets, astronaut: Still, focus: Any) -> None:
    kept = checked(assets, {"items": [{**astronaut, "focus": focus}], "at": 0})
    assert "focus" not in kept["items"][0]
    good = checked(assets, {"items": [{**astronaut, "focus": [0.25, 0.75]}], "at": 0})
    assert good["items"][0]["focus"] == (0.25, 0.75)


def test_another_frame_of_a_clip_keeps_the_crop_that_was_chosen(assets: Assets, video: str) -> None:
    shown = aimed({"items": take(assets, [video], "#ffffff")[0], "at": 0}, (0.2, 0.3))
    assert sought(assets, shown, 4, "#ffffff")["items"][0]["focus"] == (0.2, 0.3)
    assert repainted(assets, shown, "#000000")["items"][0]["focus"] == (0.2, 0.3)


@pytest.mark.parametrize(
    "value",
    [
        None, 7, "x", [], {"items": 7}, {"items": [7, None, [], {}]}, {"items": [{"ref": "../x", "width": 1, "height": 1}]},
        {"items": [{"ref": "sha256:" + "0" * 64, "width": 10**9, "height": 1}]},
        {"items": [{"ref": "sha256:" + "0" * 64, "width": "1", "height": 1}], "at": {}},
    ],
)  # fmt: skip
def test_what_can_be_no_still_is_left_out(value: Any) -> None:
    assert shaped(value) == stills.NO_STILLS


def test_what_can_be_a_still_stays_as_it_is() -> None:
    still: Still = {
        "ref": "sha256:" + "0" * 64,
        "width": 64,
        "height": 48,
        "notes": [],
        "path": "p",
        "focus": (0.5, 0.25),
    }
    kept: Stills = {"items": [still, {**still, "name": "b"}], "at": 1}
    assert shaped(kept) == kept
    assert shaped({**kept, "at": 9})["at"] == 0
