"""What is painted flows or sways for ever, by itself; all else stays to the bit."""

from __future__ import annotations

import tracemalloc
from typing import get_args

import numpy as np
import pytest

from svd_ui.steering.flowing import TRAVEL, Effect, Region, directions, flowing, pushed

from .drawn import HEIGHT, WIDTH, disc_mask, texture

BAND = np.zeros((HEIGHT, WIDTH), np.float32)
BAND[40:110, 30:220] = 1
FRAMES = 28
CLOSES = FRAMES / (FRAMES - 1)
STILL = texture(cells=(36, 64))


def region(mask: np.ndarray, angle: float = 0.0, strength: float = 1.0) -> Region:
    return Region(mask, np.broadcast_to(np.float32(directions(angle, strength)), (*mask.shape, 2)))


def frames(effect: Effect, picture: np.ndarray = STILL) -> np.ndarray:
    scenery = flowing(region(BAND), effect, 2.0, CLOSES, 1)(picture)
    return np.stack([scenery(index / (FRAMES - 1)) for index in range(FRAMES)]).astype(int)


@pytest.mark.parametrize("effect", get_args(Effect))
def test_it_goes_round_without_a_seam_and_starts_as_the_still(effect: Effect) -> None:
    clip = frames(effect)
    np.testing.assert_array_equal(clip[0], STILL)
    steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
    assert np.abs(clip[-1] - clip[0]).mean() <= 1.1 * np.median(steps)
    assert steps.max() <= 1.6 * np.median(steps)
    assert np.median(steps) > 0.1
    assert np.abs(clip - STILL)[:, BAND == 0].max() == 0


@pytest.mark.parametrize("effect", get_args(Effect))
def test_nothing_from_around_the_paint_flows_in(effect: Effect) -> None:
    red = np.where(BAND[..., None] > 0, STILL, np.uint8([255, 0, 0])).astype(np.uint8)
    inside = frames(effect, red)[:, BAND > 0]
    assert inside[..., 0].max() < 150 and inside[..., 1].min() > 20


@pytest.mark.parametrize("effect", get_args(Effect))
def test_it_moves_the_same_at_any_size(effect: Effect) -> None:
    small = flowing(region(BAND), effect, 2.0, CLOSES, 1)(STILL)(0.4)
    large = flowing(region(BAND), effect, 2.0, CLOSES, 1)(texture(2 * WIDTH, 2 * HEIGHT, (36, 64)))(0.4)
    again = large.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    assert np.abs(again - small).mean() < 1.0 < np.abs(small.astype(int) - STILL).mean()


def test_what_flows_keeps_its_contrast() -> None:
    clip = frames("water")[:, 60:90, 60:190]
    contrast = clip.std(axis=(1, 2)).mean(axis=1)
    assert contrast.min() > 0.85 * contrast[0] and contrast.max() < 1.15 * contrast[0]


@pytest.mark.parametrize(("angle", "way"), [(0, (1, 0)), (90, (0, -1)), (200, (-0.94, 0.34))])
def test_what_is_pushed_goes_that_way_and_its_edge_stays(angle: float, way: tuple[float, float]) -> None:
    import cv2

    scenery = pushed(region(BAND, angle))(STILL)
    np.testing.assert_array_equal(scenery(0.0), STILL)
    last = scenery(1.0)
    outside = BAND == 0
    np.testing.assert_array_equal(last[outside], STILL[outside])
    patch = STILL[65:85, 110:140]
    _, best, _, place = cv2.minMaxLoc(cv2.matchTemplate(last, patch, cv2.TM_CCOEFF_NORMED))
    gone = np.array(place) - (110, 65)
    np.testing.assert_allclose(gone, TRAVEL * WIDTH * np.array(way), atol=1.6)
    assert best > 0.85


def test_strength_says_how_far_and_none_is_rest() -> None:
    smooth = texture()
    far = [np.abs(pushed(region(BAND, 0, much))(smooth)(1.0).astype(int) - smooth).mean() for much in (0, 0.3, 0.6)]
    assert far[0] == 0 < far[1] < far[2]


def test_a_small_dab_does_not_fold() -> None:
    dab = disc_mask(at=(90, 70, 6))
    scenery = pushed(region(dab, 0, 4))(STILL)
    across, held = scenery._across, dab > 0.5  # type: ignore[attr-defined]
    assert held.any() and np.abs(np.diff(across, axis=1)).max() < 1


def test_a_full_hd_clip_holds_a_few_frames_at_most() -> None:
    picture = texture(1920, 1080)
    tracemalloc.start()
    scenery = flowing(region(BAND), "smoke", 2.0, CLOSES, 1)(picture)
    for share in (0.0, 0.3, 0.6):
        scenery(share)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * picture.nbytes
