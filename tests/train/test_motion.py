"""Camera motion: exact warps, measured labels, no aliasing."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from svd_ui.train.cache import LANDSCAPE
from svd_ui.train.motion import KINDS, Motion, at_flow, bucket_of, mean_flow, pixel_grid
from svd_ui.train.photos import augment
from svd_ui.train.render import OVERSAMPLING, View, render, view_at


def scene(height: int = 400, width: int = 640, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 16, width // 16, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("kind", KINDS)
def test_time_zero_is_the_still(kind: str) -> None:
    points = pixel_grid(*LANDSCAPE, step=16)
    motion = KINDS[kind][1](np.random.default_rng(1)).scaled(0.01)
    np.testing.assert_allclose(motion.source(points, 0.0), points, atol=1e-9)


def test_flow_of_a_pan_and_a_zoom_is_exact() -> None:
    assert mean_flow(Motion(pan=(1.5, 2.0)), LANDSCAPE, 14, 7) == pytest.approx(2.5)
    radius = np.linalg.norm(pixel_grid(*LANDSCAPE, step=8), axis=-1).mean()
    assert mean_flow(Motion(zoom=0.01), LANDSCAPE, 14, 7) == pytest.approx(radius * (1 - np.exp(-0.01)), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_label_follows_the_flow_that_is_seen(kind: str) -> None:
    """DIS flow of the rendered frames rises with the label, and agrees with it for a plain scene."""
    rng = np.random.default_rng(2)
    path = KINDS[kind][1](rng)
    view = view_at(scene(800, 1280), LANDSCAPE, 3.0, (0.5, 0.5))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    seen, labels = [], []
    for flow in (0.2, 0.8, 1.5):
        motion = at_flow(path, flow, LANDSCAPE, 5, 7)
        grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in render(view, motion, LANDSCAPE, 5, 7)]
        pairs = itertools.pairwise(grey)
        seen.append(np.mean([np.linalg.norm(dis.calc(a, b, None), axis=-1).mean() for a, b in pairs]))
        labels.append(bucket_of(mean_flow(motion, LANDSCAPE, 5, 7), 7))
    assert labels[0] < labels[1] < labels[2]
    assert seen[0] < seen[1] < seen[2]
    assert seen[2] == pytest.approx(1.5, rel=0.25)


def test_fps_halves_the_step_and_keeps_the_bucket() -> None:
    motion = Motion(pan=(1.0, 0.0))
    assert mean_flow(motion, LANDSCAPE, 14, 14) == pytest.approx(0.5)
    assert bucket_of(0.5, 14) == pytest.approx(bucket_of(1.0, 7))


def test_a_pan_by_whole_pixels_moves_the_picture_exactly() -> None:
    view = View(scene(), (320.0, 200.0))
    clip = render(view, Motion(pan=(3.0, 0.0)), (96, 128), 3, 7).astype(int)
    assert np.abs(clip[2][:, 6:] - clip[0][:, :-6]).max() <= 1


def test_fine_stripes_do_not_alias() -> None:
    """Stripes finer than a pixel of the frame come out flat instead of as moire."""
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::3] = 255
    view = view_at(stripes, (96, 96), 16.0, (0.5, 0.5))
    assert view.picture.shape[0] == OVERSAMPLING * 100
    assert render(view, Motion(zoom=0.01), (96, 96), 4, 7).std() < 0.1 * stripes.std()


def test_augmentation_is_reproducible() -> None:
    picture = scene(64, 64)
    first, second = (augment(picture, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
