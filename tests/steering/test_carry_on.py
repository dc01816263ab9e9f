"""A clip carried on as its last frames moved."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from svd_ui.steering.carry_on import carried_on

Frames = NDArray[np.uint8]
SHAPE = (96, 144)


def texture(shape: tuple[int, int] = SHAPE, seed: int = 0, contrast: float = 60) -> NDArray[np.float64]:
    """Smooth noise around grey, ``[H W 3]``."""
    values = np.random.default_rng(seed).standard_normal((*shape, 3))
    for axis in (0, 1) * 3:
        values = (values + np.roll(values, 1, axis) + np.roll(values, -1, axis)) / 3
    return np.clip(128 + contrast * values / values.std() / 2, 0, 255)


def subject(row: int, column: int, ground: NDArray[np.float64]) -> Frames:
    """A light square of 24 pixels with a pattern, over ``ground``."""
    frame = ground.copy()
    frame[row : row + 24, column : column + 24] = np.clip(texture((24, 24), 1) + 70, 0, 255)
    return frame.round().astype(np.uint8)


def off(one: Frames, other: Frames) -> float:
    """Mean difference in 255ths."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_the_first_frame_is_the_last_one_there_is() -> None:
    frames = np.stack([subject(30, 20 + 3 * step, texture()) for step in range(2)])
    after = carried_on(frames, 4)
    assert after.shape == (4, *SHAPE, 3) and after.dtype == np.uint8
    assert np.array_equal(after[0], frames[-1])


def test_a_subject_goes_on_over_a_ground_that_rests() -> None:
    """Seven steps of 3 pixels; its old place, most of it hidden before, becomes like what is around it."""
    ground = texture(contrast=25)
    frames = np.stack([subject(30, 20 + 3 * step, ground) for step in range(2)])
    after, expected = carried_on(frames, 8)[-1], subject(30, 23 + 21, ground)
    inside = (slice(32, 52), slice(46, 66))
    assert off(after[inside], expected[inside]) < 4
    far = (slice(None), slice(80, None))
    assert off(after[far], expected[far]) < 1
    left = (slice(34, 50), slice(26, 42))
    assert after[left].mean() < expected[inside].mean() - 40


def test_a_pan_goes_on_and_repeats_the_edge_it_comes_from() -> None:
    wide = texture((96, 200)).round().astype(np.uint8)
    frames = np.stack([wide[:, 2 * step : 2 * step + 144] for step in range(3)])
    after = carried_on(frames, 6)
    assert off(after[-1][:, :128], wide[:, 14 : 14 + 128]) < 4
    assert off(after[-1][4:-4, -6:], np.repeat(after[-1][4:-4, -1:], 6, 1)) < 2


def test_a_subject_that_the_camera_follows_stays_in_front() -> None:
    """The ground is what is fast then."""
    wide = texture((96, 240), contrast=25)
    frames = np.stack([subject(36, 60, wide[:, 3 * step : 3 * step + 144]) for step in range(2)])
    after = carried_on(frames, 8)[-1]
    assert off(after[38:58, 62:82], frames[-1][38:58, 62:82]) < 4
    assert off(after[:30, :110], wide[:30, 24 : 24 + 110]) < 4


def test_what_rests_stays() -> None:
    frames = np.stack([texture().round().astype(np.uint8)] * 2)
    assert off(carried_on(frames, 5)[-1], frames[-1]) < 0.5


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (2, 8, 64, 3)])
def test_where_no_motion_can_be_seen_it_says_so(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="to see motion"):
        carried_on(np.zeros(shape, np.uint8), 4)
