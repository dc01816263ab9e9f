"""Sentences and exactly what comes of them, and that chips can be taken away one by one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from svd_ui.steering import camera
from svd_ui.steering.words import MOST_LETTERS, WITH_CAMERA, recipe
from svd_ui.validation import validate

SENTENCES = json.loads((Path(__file__).parent / "sentences.json").read_text("utf-8"))


@pytest.mark.parametrize("row", SENTENCES, ids=[row["say"] for row in SENTENCES])
def test_a_sentence_means_exactly_this(row: dict[str, Any]) -> None:
    found = recipe(row["say"])
    assert found.values == row["values"]
    assert [[chip.text, chip.source, *filter(None, [chip.wants])] for chip in found.chips] == row["chips"]
    assert [[*filter(None, [one.source, one.why])] for one in found.unknown] == row["unknown"]
    assert all(chip.source in row["say"] for chip in found.chips)
    assert all(one.source in row["say"] for one in found.unknown if " " not in one.source), "a part of the text"
    validate({"prompt": "a lake", **found.values})


def test_there_are_enough_of_them() -> None:
    assert len(SENTENCES) >= 60
    kinds = {row["values"].get("method", {}).get("kind") for row in SENTENCES}
    assert kinds >= {"camera", "lock", "brush", "end_frame", "loop", "extend", None}


def test_a_chip_that_is_removed_takes_its_values_along() -> None:
    text = "slow push-in, hold the background, lively"
    ids = {chip.text: chip.id for chip in recipe(text).chips}
    assert recipe(text, without=[ids["The background stays"]]).values == {
        "method": {"kind": "camera", "camera": "push in*0.5"}, "motion_bucket_id": 180,
    }  # fmt: skip
    assert recipe(text, without=[ids["Motion 180"], ids["Push in ×0.5"]]).values == {"method": {"kind": "lock"}}
    nothing = recipe(text, without=ids.values())
    assert (nothing.chips, nothing.values, nothing.unknown) == ((), {}, ())
    left = recipe(text, without=[ids["Push in ×0.5"]])
    assert {chip.id for chip in left.chips} == set(ids.values()) - {ids["Push in ×0.5"]}, "ids stay what they are"


def test_what_was_contradicted_counts_once_the_other_is_gone() -> None:
    text = "static camera, pan left"
    first = recipe(text)
    assert [(one.source, one.why) for one in first.unknown] == [("pan left", "it contradicts “static camera”")]
    assert recipe(text, without=[first.chips[0].id]).values == {"method": {"kind": "camera", "camera": "pan left"}}


@pytest.mark.parametrize("kind", WITH_CAMERA)
def test_words_fill_the_method_that_is_chosen(kind: str) -> None:
    assert recipe("pan left", kind=kind).values == {"method": {"kind": kind, "camera": "pan left"}}


def test_a_method_without_room_for_the_words_says_so() -> None:
    found = recipe("pan left, calm", kind="motion_strength")
    assert found.values == {"method": {"kind": "motion_strength"}, "motion_bucket_id": 60}
    assert str(found.unknown[0]) == "Not used: pan left (a clip has one method, and here it is motion strength)"


def test_what_a_chip_sets_is_named_by_field() -> None:
    chips = {chip.text: dict(chip.sets) for chip in recipe("clouds drift left, slow pan right, draft").chips}
    assert chips == {
        "Clouds to the left: paint where": {"method": "brush", "method.brush.effect": "clouds", "method.brush.angle": 180},
        "Pan right ×0.5": {"method.brush.camera": "pan right*0.5"},
        "Speed draft": {"speed": "draft"},
    }  # fmt: skip


def test_moves_beside_what_stirs_in_a_loop_come_back() -> None:
    """A loop closes a path of its own, a brush plays what it is given."""
    assert recipe("push in, seamless loop").values["method"] == {"kind": "loop", "camera": "push in"}
    path = camera.read(recipe("push in, pan left, waves, seamless loop").values["method"]["camera"])
    assert path.keys[-1] == (1.0, camera.REST)
    assert path.keys[0][1] == camera.Pose(zoom=1.15, pan=-0.1)


def test_the_recipe_is_plain_json() -> None:
    plain = recipe("clouds drift left, make her smile").plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["unknown"] == [{"source": "make her smile", "why": ""}]
    assert plain["chips"][0]["wants"] == "strokes"


def test_nothing_said_is_nothing_wanted_and_too_much_is_refused() -> None:
    for text in ("", "  \n ", ",;."):
        assert recipe(text).values == {}
    with pytest.raises(ValueError, match="at most 500 letters"):
        recipe("x" * (MOST_LETTERS + 1))


def test_any_words_in_any_order_make_a_valid_request() -> None:
    draw = random.Random(7)
    words = sorted({word for row in SENTENCES for word in [*row["say"].split(), ",", "and", "then", "not", "İ", "ẞ"]})
    for _ in range(150):
        found = recipe(" ".join(draw.choices(words, k=draw.randint(1, 14))))
        validate({"prompt": "a lake", **found.values})
        json.dumps(found.plain())
