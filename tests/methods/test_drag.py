"""An arrow takes what it starts on along; arrows on one thing turn it."""

from __future__ import annotations

import numpy as np
import pytest

from svd_ui.errors import BadInput
from svd_ui.methods.drag import Drag
from tests.steering.drawn import middle, orange, view, with_disc

PICTURE = with_disc()
VIEW = view(PICTURE)
ARROW = "0.3516,0.4861>0.6,0.4"


def dragged(**values: str) -> tuple[float, float]:
    plan = Drag(kind="drag", **values).choreography(VIEW)
    assert plan.scenery is not None
    return middle(orange(plan.scenery(PICTURE)(1.0)) > 0.6)


def test_what_the_arrow_starts_on_ends_where_it_points() -> None:
    assert dragged(arrows=ARROW) == pytest.approx((0.6 * 256, 0.4 * 144), abs=0.5)


def test_painted_it_may_start_beside_the_thing() -> None:
    moved = dragged(arrows="0.2,0.2>0.3,0.2", strokes="width=0.1:0.35,0.49")
    assert moved == pytest.approx((90 + 25.6, 70), abs=0.5)


def test_two_arrows_on_one_thing_are_one_motion() -> None:
    moved = dragged(arrows="0.33,0.4861>0.43,0.4861; 0.37,0.4861>0.47,0.4861")
    assert moved == pytest.approx((90 + 25.6, 70), abs=0.5)


@pytest.mark.parametrize("rest", ["stays", "lives"])
def test_the_rest_is_kept_calm_only_where_that_is_asked_for(rest: str) -> None:
    plan = Drag(kind="drag", arrows=ARROW, rest=rest).choreography(VIEW)
    assert plan.rest_stays == (rest == "stays") and (plan.hold is not None) == (rest == "stays")
    assert plan.camera is not None and plan.camera.still and plan.to_the_end
    assert plan.follow is not None
    follow = plan.follow(0.0)
    assert min(follow[70, 90], follow[58, 153]) == 1 and follow[130, 20] == 0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "arrows"),
        ({"arrows": "-0.2,0.5>0.3,0.5"}, "arrows"),
        ({"arrows": ARROW, "strokes": "width=0.01:1.4,1.4"}, "strokes"),
    ],
)
def test_marks_that_fit_nothing_are_said_by_their_field(values: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as raised:
        Drag(kind="drag", **values).choreography(VIEW)
    assert raised.value.field == f"method.drag.{field}"


def test_the_still_is_the_first_frame() -> None:
    plan = Drag(kind="drag", arrows=ARROW).choreography(VIEW)
    assert plan.scenery is not None
    np.testing.assert_array_equal(plan.scenery(PICTURE)(0.0), PICTURE)
