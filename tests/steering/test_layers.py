"""A dragged thing ends where its arrow does, whole and alone; the first frame is the still."""

from __future__ import annotations

import numpy as np
import pytest

from svd_ui.steering.layers import Thing, along, moved, touched

from .drawn import HEIGHT, WIDTH, disc_mask, middle, orange, texture, with_disc

FROM, TO = (90 / WIDTH, 70 / HEIGHT), (170.5 / WIDTH, 52.25 / HEIGHT)
DISC = Thing(disc_mask(), ((FROM, TO),))


@pytest.mark.parametrize("scale", [1, 2])
def test_it_ends_at_the_arrow_s_point_at_any_size(scale: int) -> None:
    scenery = moved([DISC])(with_disc(scale * WIDTH, scale * HEIGHT))
    x, y = middle(orange(scenery(1.0)) > 0.6)
    assert (x / scale, y / scale) == pytest.approx((170.5, 52.25), abs=0.35)


def test_the_first_frame_is_the_still_to_the_bit_and_no_step_jumps() -> None:
    picture = with_disc()
    scenery = moved([DISC])(picture)
    np.testing.assert_array_equal(scenery(0.0), picture)
    places = np.array([middle(orange(scenery(share)) > 0.6)[0] for share in np.linspace(0, 1, 29)])
    steps = np.diff(places)
    assert steps.min() > -0.3 and steps.max() < 1.6 * 80.5 / 28


def test_nothing_is_left_where_it_was_and_no_edge_goes_with_it() -> None:
    frame = moved([DISC])(with_disc())(1.0)
    truth = with_disc(at=(170.5, 52.25, 22))
    assert orange(frame)[:, :130].max() < 0.25
    ring = (disc_mask(at=(170.5, 52.25, 26)) > 0) & (disc_mask(at=(170.5, 52.25, 18)) < 1)
    assert np.abs(frame.astype(int) - truth)[ring].mean() < 6
    elsewhere = (disc_mask(at=(170.5, 52.25, 30)) == 0) & (disc_mask(at=(90, 70, 38)) == 0)
    np.testing.assert_array_equal(frame[elsewhere], texture()[elsewhere])


def test_an_arrow_with_a_bend_is_followed_evenly_along_it() -> None:
    way = ((0.1, 0.1), (0.3, 0.1), (0.3, 0.3))
    assert along(way, 0) == (0.1, 0.1) and along(way, 1) == (0.3, 0.3)
    assert along(way, 0.5) == pytest.approx((0.3, 0.1))
    assert along(((0.0, 0.0), (1.0, 1.0)), 0.25)[0] == pytest.approx(0.15625)  # it starts gently


def test_two_arrows_on_one_thing_turn_it() -> None:
    square = np.zeros((HEIGHT, WIDTH), np.float32)
    square[50:90, 70:110] = 1
    turn = Thing(
        square,
        (
            ((80 / WIDTH, 70 / HEIGHT), (90 / WIDTH, 60 / HEIGHT)),
            ((100 / WIDTH, 70 / HEIGHT), (90 / WIDTH, 80 / HEIGHT)),
        ),
    )
    motion = turn.motion(1.0, WIDTH, HEIGHT)
    np.testing.assert_allclose(motion[:, :2], [[0, -1], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(motion @ (90, 70, 1), (90, 70), atol=1e-9)


def test_what_the_frame_cuts_off_has_no_straight_end_inside_it() -> None:
    at = (90.0, 140.0, 30.0)
    thing = Thing(disc_mask(at=at), (((0.35, 0.9), (0.35, 0.7)),))
    frame = moved([thing])(with_disc(at=at))(1.0)
    assert orange(frame)[-3:, 85:95].min() > 0.6


def test_where_it_comes_by_is_what_has_to_be_followed() -> None:
    mask = touched([DISC])
    assert min(mask[70, 90], mask[52, 170], mask[61, 130]) == 1
    assert mask[130, 20] == 0 and mask[20, 60] == 0
