"""From one still to another: along the way what both show, a dissolve where they show nothing in common."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from svd_ui.settings import REPOSITORY
from svd_ui.steering.morph import Way, between, morph, way

PHOTO = REPOSITORY / "assets" / "examples" / "mountains.jpg"
OTHER = REPOSITORY / "assets" / "examples" / "cat.jpg"
SIZE = 320, 180


def cut(path: object, box: tuple[float, float, float]) -> np.ndarray:
    """A part of a photograph: left and top, and how wide, in shares."""
    photo = Image.open(path).convert("RGB")  # type: ignore[arg-type]
    left, top, wide = (share * photo.width for share in box)
    return np.asarray(photo.resize(SIZE, box=(left, top, left + wide, top + wide * 9 / 16)))


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray, Way]:
    first, last = cut(PHOTO, (0, 0, 0.8)), cut(PHOTO, (0.2, 0.08, 0.7))
    return first, last, way(first, last)


def sharpness(frame: np.ndarray) -> float:
    return float(np.abs(np.diff(frame.astype(float).mean(-1), axis=1)).mean())


def test_the_ends_are_the_stills(pair: tuple[np.ndarray, np.ndarray, Way]) -> None:
    first, last, found = pair
    assert found.related
    assert (between(first, last, found, 0) == first).all()
    assert (between(first, last, found, 1) == last).all()


def test_the_way_is_where_things_really_went(pair: tuple[np.ndarray, np.ndarray, Way]) -> None:
    """A crop moved by 0.2 of the photograph and made narrower: where it shows the same is known exactly."""
    found = pair[2].flow
    height, width = found.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = (x + 0.5) / width, (y + 0.5) / height
    there = (0.8 * x - 0.2) / 0.7 - x, (0.8 * y - 0.08 * 16 / 9) / 0.7 - y
    seen = (x + there[0] > 0.05) & (y + there[1] > 0.05) & (x + there[0] < 0.95) & (y + there[1] < 0.95)
    error = np.hypot((found[..., 0] - there[0]) * SIZE[0], (found[..., 1] - there[1]) * SIZE[1])
    assert np.median(error[seen]) < 0.5


def test_it_goes_evenly_and_stays_sharp(pair: tuple[np.ndarray, np.ndarray, Way]) -> None:
    first, last, found = pair
    frames = [between(first, last, found, share) for share in np.linspace(0, 1, 13)]
    steps = [np.abs(a.astype(float) - b).mean() for a, b in pairwise(frames)]
    assert max(steps) / np.median(steps) <= 1.3
    assert sharpness(frames[6]) >= 0.85 * min(sharpness(first), sharpness(last))


def test_halfway_is_what_a_camera_halfway_would_see(pair: tuple[np.ndarray, np.ndarray, Way]) -> None:
    first, last, found = pair
    wide = 2 / (1 / 0.8 + 1 / 0.7)  # places go straight, so one over the width does
    seen = cut(PHOTO, (wide * 0.2 / 0.7 / 2, wide * 0.08 / 0.7 / 2, wide)).astype(float)

    def error(frame: np.ndarray) -> float:
        return float(np.abs(frame - seen)[20:-20, 20:-20].mean())

    dissolved = (first.astype(float) + last) / 2
    assert error(between(first, last, found, 0.5).astype(float)) < 0.4 * error(dissolved)


def test_pictures_with_nothing_in_common_dissolve() -> None:
    first, last = cut(PHOTO, (0, 0, 0.8)), cut(OTHER, (0, 0, 0.8))
    found = way(first, last)
    assert not found.related
    middle = between(first, last, found, 0.5).astype(float)
    assert np.abs(middle - (first.astype(float) + last) / 2).mean() < 1


def test_keyframes_are_passed_at_their_times(pair: tuple[np.ndarray, np.ndarray, Way]) -> None:
    first, last, found = pair
    back = way(last, first)
    scenery = morph([(0.0, first), (0.4, last), (1.0, first)], [found, back])
    assert (scenery(0.4) == last).all()
    assert (scenery(1.0) == first).all()
    assert np.abs(scenery(0.2).astype(float) - between(first, last, found, 0.5)).mean() < 0.5
