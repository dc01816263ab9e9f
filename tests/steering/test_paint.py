"""Strokes say where and which way; later ones lie over earlier ones."""

from __future__ import annotations

import numpy as np

from svd_ui.steering.marks import read_strokes
from svd_ui.steering.paint import Paint, paint

from .drawn import HEIGHT, WIDTH, texture, view

LEFT, RIGHT = "width=0.3:0.25,0.5", "width=0.3:0.75,0.5"
AT_LEFT, AT_RIGHT = (72, 64), (72, 192)


def painting(text: str, angle: float | None = None, strength: float = 1.0) -> Paint:
    return paint(view(texture()), read_strokes(text), None, angle, strength)


def test_each_stroke_has_its_own_direction_and_strength_and_the_rest_what_all_have() -> None:
    push = painting(f"angle=90,strength=2,{LEFT}; {RIGHT}", angle=180, strength=0.5).pushed().push
    np.testing.assert_allclose(push[AT_LEFT], (0, -1), atol=0.02)
    np.testing.assert_allclose(push[AT_RIGHT], (-0.5, 0), atol=0.02)


def test_what_has_no_direction_moves_as_the_checkpoint_has_it_and_as_much_as_is_asked() -> None:
    held = painting(f"{LEFT}; angle=0,{RIGHT}", strength=1.5).held()
    assert held[AT_LEFT] == -0.5 and held[AT_RIGHT] == 1 and held[5, 5] == 1
    assert np.abs(np.diff(held, axis=1)).max() < 0.3  # nothing is torn at its edge


def test_an_effect_has_a_direction_for_all_of_the_paint() -> None:
    region = painting(f"angle=90,{LEFT}; {RIGHT}").flowing(180)
    np.testing.assert_allclose(region.push[AT_LEFT], (0, -1), atol=0.02)
    np.testing.assert_allclose(region.push[AT_RIGHT], (-1, 0), atol=0.02)


def test_what_is_rubbed_out_is_not_painted_until_it_is_painted_again() -> None:
    gone = painting(f"{LEFT}; erase=1,{LEFT}")
    assert gone.covered.max() < 0.3 and gone.covered[AT_LEFT] == 0
    assert painting(f"{LEFT}; erase=1,{LEFT}; {LEFT}").covered[AT_LEFT] == 1


def test_white_of_a_mask_picture_moves() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[:, :128] = 1
    whole = paint(view(texture()), (), mask, 0.0, 1.0)
    assert whole.directed[AT_LEFT] == 1 and whole.covered[AT_RIGHT] == 0
