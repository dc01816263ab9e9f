"""Motion: exact warps, measured labels, scenes, no aliasing."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from recipes.nano.motion import FULL_FLOW, Grid, Motion, at_flow, bucket_of, mean_flow, point_grid, sources
from recipes.nano.moves import CAMERAS, WINDS, draw
from recipes.nano.photos import augment
from recipes.nano.render import View, render, still, view_at
from recipes.nano.scenes import NOTHING, Scene, Window, known, scene_of

POINTS = point_grid(9, 16)
SIZE = (144, 256)
EVERYTHING = Scene(np.ones((36, 64), np.float32), {kind: np.ones((36, 64), np.float32) for kind in WINDS})


def picture(height: int = 400, width: int = 640, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 16, width // 16, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def flow_of(motion: Motion, fps: float = 7, points: Grid = POINTS, scene: Scene = NOTHING) -> float:
    return mean_flow(sources(motion, points, 14, fps, scene))


@pytest.mark.parametrize("kind", CAMERAS)
def test_time_zero_is_the_still(kind: str) -> None:
    rng = np.random.default_rng(1)
    motion = CAMERAS[kind][1](rng).scaled(0.01)
    motion = Motion(motion.zoom, motion.pan, motion.roll, motion.focus, 1.0, tuple(w(rng) for w in WINDS.values()))
    np.testing.assert_allclose(motion.source(POINTS, 0.0, EVERYTHING), POINTS, atol=1e-9)
    assert np.abs(motion.source(POINTS, 5.0, EVERYTHING) - POINTS).max() > 0.01


def test_flow_of_a_pan_and_a_zoom_is_exact() -> None:
    assert flow_of(Motion(pan=(0.003, 0.004))) == pytest.approx(0.005)
    radius = np.linalg.norm(POINTS, axis=-1).mean()
    assert flow_of(Motion(zoom=0.01)) == pytest.approx(radius * (1 - np.exp(-0.01)), rel=1e-3)


@pytest.mark.parametrize("kind", CAMERAS)
def test_label_follows_the_flow_that_is_seen(kind: str) -> None:
    """DIS flow of the rendered frames rises with the label, and agrees with it for a plain scene."""
    path = CAMERAS[kind][1](np.random.default_rng(2))
    view = view_at(picture(800, 1280), SIZE, 3.0, (0.5, 0.5))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    seen, labels = [], []
    for share in (0.15, 0.5, 0.95):
        motion = at_flow(path, share * FULL_FLOW, POINTS, 5)
        grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in render(view, motion, SIZE, 5, 7)]
        pairs = itertools.pairwise(grey)
        seen.append(np.mean([np.linalg.norm(dis.calc(a, b, None), axis=-1).mean() for a, b in pairs]))
        labels.append(bucket_of(mean_flow(sources(motion, POINTS, 5, 7)), 7))
    assert labels[0] < labels[1] < labels[2]
    assert seen[0] < seen[1] < seen[2]
    assert seen[2] == pytest.approx(0.95 * FULL_FLOW * 128, rel=0.25)


def test_fps_halves_the_step_and_keeps_the_bucket() -> None:
    motion = Motion(pan=(0.008, 0.0))
    assert flow_of(motion, 14) == pytest.approx(0.004)
    assert bucket_of(0.004, 14) == pytest.approx(bucket_of(0.008, 7))


def test_drawn_motions_fill_the_dial() -> None:
    rng = np.random.default_rng(0)
    buckets = [bucket_of(flow_of(draw(rng, POINTS, 14, NOTHING)), 7) for _ in range(60)]
    assert min(buckets) < 40
    assert max(buckets) > 215
    assert np.median(buckets) == pytest.approx(130, abs=35)


def test_winds_move_their_part_of_the_scene_only() -> None:
    left = np.zeros((36, 64), np.float32)
    left[:, :32] = 1
    scene = Scene(stirring={"water": left})
    wind = WINDS["water"](np.random.default_rng(0))
    moved = np.linalg.norm(Motion(winds=(wind,)).source(POINTS, 5.0, scene) - POINTS, axis=-1)
    assert moved[:, :7].mean() > 1e-3
    assert moved[:, 9:].max() == 0


def test_the_near_part_moves_faster() -> None:
    near = np.zeros((36, 64), np.float32)
    near[:, 32:] = 1
    moved = Motion(pan=(0.01, 0.0), parallax=0.5).source(POINTS, 4.0, Scene(near)) - POINTS
    assert moved[:, 2, 0] == pytest.approx(-0.04)
    assert moved[:, 14, 0] == pytest.approx(-0.06)


def test_strong_winds_give_way_to_the_label() -> None:
    motion = Motion(pan=(1.0, 0.0), winds=(WINDS["sky"](np.random.default_rng(0)).scaled(10),))
    slow = at_flow(motion, 0.1 * FULL_FLOW, POINTS, 14, EVERYTHING)
    assert flow_of(slow, scene=EVERYTHING) == pytest.approx(0.1 * FULL_FLOW, rel=0.1)


def test_a_scene_follows_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part on the right half of the photograph is on the left of a mirrored frame, and gone from one that omits it."""
    about = {
        "moving": [{"kind": "sky", "polygon": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}],
        "near": [[[0, 0], [0.3, 0], [0.3, 1], [0, 1]]],
        "horizon": None,
    }
    monkeypatch.setattr("recipes.nano.scenes.known", lambda: {"here": about})
    whole = scene_of("here", Window(0, 0, 1, 1), 16 / 9)
    assert whole.share("sky", POINTS)[4, 14] == pytest.approx(1)
    assert whole.share("sky", POINTS)[4, 4] == 0
    assert whole.nearness(POINTS)[4, 1] > 0.9
    mirrored = scene_of("here", Window(0, 0, 1, 1, mirrored=True), 16 / 9)
    assert mirrored.share("sky", POINTS)[4, 1] == pytest.approx(1)
    assert "sky" not in scene_of("here", Window(0, 0, 0.4, 1), 16 / 9).stirring
    assert scene_of("elsewhere", Window(0, 0, 1, 1), 16 / 9) is NOTHING


def test_every_known_scene_can_be_read() -> None:
    for stem, about in known().items():
        scene = scene_of(stem, Window(0, 0, 1, 1), 16 / 9)
        assert set(scene.stirring) <= set(WINDS), stem
        assert np.array([p for part in about["moving"] for p in part["polygon"]] or [[0, 0]]).max() <= 1


def test_a_pan_by_whole_pixels_moves_the_picture_exactly() -> None:
    view = View(picture(), 1.0, (320.0, 200.0))
    clip = render(view, Motion(pan=(3 / 64, 0.0)), (96, 128), 3, 7).astype(int)
    assert np.abs(clip[2][:, 6:] - clip[0][:, :-6]).max() <= 1
    assert np.abs(clip[0] - still(view, (96, 128))).mean() < 1


def test_fine_stripes_do_not_alias() -> None:
    """Stripes finer than a pixel of the frame come out flat instead of as moire."""
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::3] = 255
    view = view_at(stripes, (96, 96), 16.0, (0.5, 0.5))
    assert render(view, Motion(zoom=0.01), (96, 96), 4, 7).std() < 0.1 * stripes.std()


def test_augmentation_is_reproducible() -> None:
    first, second = (augment(picture(64, 64), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
