"""The background is held; what may move is what was marked, or what stands out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image
from pydantic import ValidationError

from svd_ui.errors import BadInput
from svd_ui.methods.lock import Lock
from tests.steering.drawn import HEIGHT, WIDTH, disc_mask, overlap, view, with_disc

VIEW = view(with_disc())
DISC = disc_mask()
PICTURE = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("marks", "least"),
    [({"strokes": "width=0.1:0.35,0.49"}, 0.93), ({"box": "0.23,0.28,0.5,0.7"}, 0.93), ({}, 0.6)],
    ids=["paint", "box", "nothing"],
)
def test_the_subject_is_not_held_and_all_else_is(marks: dict[str, str], least: float) -> None:
    plan = Lock(kind="lock", **marks).choreography(VIEW)
    assert plan.hold is not None and plan.lifted and plan.own is None
    assert overlap(1 - plan.hold, DISC) > least


def test_a_mask_picture_is_taken_as_it_is() -> None:
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (10, 10, 60, 60))
    seen = replace(VIEW, open=lambda ref: mask)
    hold = Lock(kind="lock", mask=PICTURE).choreography(seen).hold
    assert (
        hold is not None and hold[10:60, 10:60].max() == 0 and hold.mean() == pytest.approx(1 - 2500 / (WIDTH * HEIGHT))
    )


def test_new_pixels_are_held_to_the_end_where_the_subject_does_not_come() -> None:
    plan = Lock(kind="lock", strokes="width=0.1:0.35,0.49", camera="zoom=1.2").choreography(VIEW)
    assert plan.own is not None and plan.follow is not None and plan.to_the_end and not plan.rest_stays
    follow = plan.follow(0.5)
    assert follow[DISC > 0].max() == 0 and follow[70, 200] == 1


@pytest.mark.parametrize("box", ["0.1,0.1,0.5", "0.5,0.1,0.4,0.9", "0,0,1.2,1", "a,b,c,d"])
def test_a_box_that_is_none_is_refused_where_it_enters(box: str) -> None:
    with pytest.raises(ValidationError):
        Lock(kind="lock", box=box)


def test_a_subject_outside_the_frame_is_said_by_its_field() -> None:
    mask = replace(VIEW, open=lambda ref: Image.new("L", (8, 8)))
    with pytest.raises(BadInput) as raised:
        Lock(kind="lock", mask=PICTURE).choreography(mask)
    assert raised.value.field == "method.lock.mask"
