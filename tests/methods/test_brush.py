"""Only the paint moves: as the checkpoint likes, one way, or as water and leaves do."""

from __future__ import annotations

import numpy as np
import pytest

from svd_ui.errors import BadInput
from svd_ui.methods.brush import Brush
from tests.steering.drawn import texture, view

VIEW = view(texture())
STROKE = "width=0.4:0.5,0.5"


def test_free_paint_is_the_checkpoint_s_and_nothing_else_is() -> None:
    plan = Brush(kind="brush", strokes=STROKE).choreography(VIEW)
    assert plan.scenery is None and plan.hold is not None and not plan.lifted
    assert plan.hold[72, 128] == 0 and plan.hold[5, 5] == 1
    assert plan.follow is not None and plan.follow(0.3)[72, 128] == 0 and plan.follow(0.3)[5, 5] == 1
    assert plan.to_the_end and not plan.rest_stays


@pytest.mark.parametrize("values", [{"angle": 45}, {"effect": "water"}, {"effect": "leaves", "strength": 2}])
def test_with_a_direction_or_an_effect_the_plan_says_how_it_moves(values: dict[str, object]) -> None:
    plan = Brush.model_validate({"kind": "brush", "strokes": STROKE, **values}).choreography(VIEW)
    assert plan.scenery is not None and plan.hold is not None and plan.hold.min() == 1
    frame = plan.scenery(texture())(0.4)
    assert np.abs(frame.astype(int) - texture())[60:84, 110:140].mean() > 1
    np.testing.assert_array_equal(frame[:10], texture()[:10])


@pytest.mark.parametrize("strokes", ["", "width=0.01:1.4,1.4"])
def test_nothing_painted_within_the_frame_is_said_by_its_field(strokes: str) -> None:
    with pytest.raises(BadInput) as raised:
        Brush(kind="brush", strokes=strokes).choreography(VIEW)
    assert raised.value.field == "method.brush.strokes"
