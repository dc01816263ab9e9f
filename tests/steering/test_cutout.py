"""A thing is found from a rough mark on it, and its edge is its own."""

from __future__ import annotations

import numpy as np
import pytest

from svd_ui.steering import cutout
from svd_ui.steering.marks import Stroke, painted

from .drawn import HEIGHT, WIDTH, disc_mask, overlap, texture, with_disc

PICTURE, DISC = with_disc(), disc_mask()
MIDDLE = (90 / WIDTH, 70 / HEIGHT)


@pytest.mark.parametrize("width", [0.05, 0.24], ids=["a dab in its middle", "paint beyond its edges"])
def test_paint_grows_or_shrinks_to_the_thing_that_it_is_on(width: float) -> None:
    paint = painted([Stroke((MIDDLE,), width)], WIDTH, HEIGHT)
    assert overlap(cutout.of_paint(PICTURE, paint), DISC) > 0.93


def test_what_is_in_a_box_or_at_a_place_or_stands_out_is_found() -> None:
    box = (60 / WIDTH, 40 / HEIGHT, 125 / WIDTH, 100 / HEIGHT)
    assert overlap(cutout.of_box(PICTURE, box), DISC) > 0.93
    assert overlap(cutout.at_place(PICTURE, MIDDLE), DISC) > 0.93
    assert overlap(cutout.standing_out(PICTURE), DISC) > 0.6  # a guess, which takes some of the ground along


def test_paint_on_nothing_in_particular_stays_as_it_was_painted() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    paint = painted([Stroke((MIDDLE,), 0.2)], WIDTH, HEIGHT)
    assert overlap(cutout.of_paint(flat, paint), paint) > 0.6
    assert 0 < cutout.standing_out(flat).mean() < 1
    assert 0 < cutout.at_place(flat, MIDDLE).mean() < 0.2


def test_an_edge_is_as_fine_as_the_picture_that_it_is_wanted_for() -> None:
    large = with_disc(4 * WIDTH, 4 * HEIGHT)
    rough = cutout.of_paint(PICTURE, painted([Stroke((MIDDLE,), 0.1)], WIDTH, HEIGHT))
    fine = cutout.refined(large, rough)
    truth = disc_mask(4 * WIDTH, 4 * HEIGHT)
    assert np.abs(fine - truth).mean() < 0.004
    assert fine[truth == 0].mean() < 0.004  # nothing of the ground goes along


def test_it_is_the_same_thing_every_time() -> None:
    first = cutout.at_place(texture(), MIDDLE)
    cutout.at_place(PICTURE, (0.9, 0.9))
    np.testing.assert_array_equal(first, cutout.at_place(texture(), MIDDLE))
