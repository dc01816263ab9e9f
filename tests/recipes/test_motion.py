"""What a training set is drawn from: moves of an exact length, winds, what stands in front, no aliasing."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.random import Generator

from recipes.nano.cutouts import Cutout, blurred, find_cutouts, load_cutout, stand_in
from recipes.nano.motion import Wave, Wind, point_grid
from recipes.nano.moves import CAMERAS, WINDS, draw_fps, known_moves, path_of
from recipes.nano.photos import augment
from recipes.nano.render import View, render, still, view_at
from recipes.nano.scenes import NOTHING, Window, known, scene_of
from svd_ui.core.families.scene import Scene as Seen

POINTS = point_grid(9, 16)


def rng(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


def picture(height: int = 400, width: int = 640, seed: int = 0) -> np.ndarray:
    """A smooth random picture."""
    noise = rng(seed).uniform(0, 255, (height // 16, width // 16, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def seen(*poses: tuple[float, float, float, float, float]) -> Seen:
    """A camera before something flat."""
    return Seen(torch.tensor(poses), torch.zeros(6, 8), torch.zeros(len(poses), 2, 6, 8))


# Moves


def test_every_known_move_goes_exactly_as_far_as_is_asked() -> None:
    moves = known_moves(rng(), each=6)
    assert [*moves] == [*CAMERAS]
    for kind, some in moves.items():
        assert len(some) == 6
        for *way, softness in some:
            if kind != "arc":  # which goes past what is near: how far depends on it
                assert path_of(tuple(way), torch.zeros(18, 32)) == pytest.approx(1, abs=0.002)  # type: ignore[arg-type]
            assert 0.1 <= softness <= 0.6


def test_the_same_moves_are_known_every_time() -> None:
    assert known_moves(rng(0)) == known_moves(rng(0)) != known_moves(rng(1))


@pytest.mark.parametrize(
    ("kind", "number", "sign"),
    [
        ("push_in", 2, 1), ("pull_back", 2, -1), ("pan_right", 0, 1), ("pan_left", 0, -1), ("tilt_down", 1, 1),
        ("tilt_up", 1, -1),
    ],
)  # fmt: skip
def test_a_kind_of_move_is_what_its_name_says(kind: str, number: int, sign: int) -> None:
    for move in known_moves(rng(3))[kind]:
        assert move[number] * sign > 0
        assert abs(move[number]) == max(abs(part) for part in move[:5])


@pytest.mark.parametrize(("kind", "number"), [("roll", 3), ("arc", 4)])
def test_rolls_and_arcs_go_both_ways(kind: str, number: int) -> None:
    signs = [np.sign(move[number]) for move in known_moves(rng())[kind]]
    assert {*signs} == {-1, 1}


def test_all_but_a_pull_show_little_of_what_lies_beyond_the_edge() -> None:
    """They go inwards a little."""
    for kind, some in known_moves(rng()).items():
        assert kind == "pull_back" or min(move[2] for move in some) > 0


def test_most_clips_have_the_rate_of_the_checkpoint() -> None:
    generator = rng()
    rates = [draw_fps(generator) for _ in range(400)]
    assert np.mean(np.array(rates) == 5) == pytest.approx(0.6, abs=0.08)
    assert {4, 12, 30} <= {*rates}


# Winds


@pytest.mark.parametrize("kind", WINDS)
def test_a_wind_begins_at_nothing_and_then_is_of_the_size_of_the_motion_asked_for(kind: str) -> None:
    sizes = []
    for seed in range(20):
        wind = WINDS[kind](rng(seed))
        np.testing.assert_allclose(wind.shift(POINTS, 0.0), 0, atol=1e-9)
        sizes.append(np.linalg.norm(np.stack([wind.shift(POINTS, t) for t in (0.5, 1, 1.5, 2)]), axis=-1).mean())
    assert 0.3 < np.mean(sizes) < 3


def test_a_wave_travels_along_its_vector_and_clouds_go_on() -> None:
    wave = Wave((2 * math.pi, 0.0), (0.0, 1.0), 2 * math.pi, 0.0)
    at = wave.shift(POINTS, 0.25)[4, :, 1] - wave.shift(POINTS, 0.0)[4, :, 1]
    x = POINTS[4, :, 0]
    np.testing.assert_allclose(at, np.sin(2 * math.pi * (x + 0.25)) - np.sin(2 * math.pi * x), atol=1e-6)
    np.testing.assert_allclose(wave.shift(POINTS, 1.0), 0, atol=1e-6)
    clouds = Wind("sky", drift=(0.5, 0.0))
    np.testing.assert_allclose(clouds.shift(POINTS, 2.0)[..., 0], -1.0)  # what goes right was further left


# What is where


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


# Pictures


def test_a_pan_by_whole_pixels_moves_the_picture_exactly() -> None:
    view = View(picture(), 1.0, (320.0, 200.0))
    clip = render(view, seen((0, 0, 0, 0, 0), (6 / 64, 0, 0, 0, 0)), (96, 128)).astype(int)
    assert np.abs(clip[1][:, 6:-12] - clip[0][:, 12:-6]).max() <= 2
    assert np.abs(clip[0] - still(view, (96, 128))).mean() < 1


def test_fine_stripes_do_not_alias() -> None:
    """Stripes finer than a pixel of the frame come out flat instead of as moire."""
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::3] = 255
    view = view_at(stripes, (96, 96), 16.0, (0.5, 0.5))
    assert render(view, seen(*((0, 0, 0.01 * t, 0, 0) for t in range(3))), (96, 96)).std() < 0.1 * stripes.std()


def test_augmentation_is_reproducible() -> None:
    first, second = (augment(picture(64, 64), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


# What stands in front


def disc(sways: bool = False) -> Cutout:
    cover = np.zeros((80, 40), np.float32)
    cv2.ellipse(cover, (20, 40), (16, 36), 0, 0, 360, 1.0, -1)
    return Cutout(np.full((80, 40, 3), 200, np.uint8), cover, sways)


def test_a_thing_covers_what_is_behind_it_and_nothing_else() -> None:
    background, found = np.zeros((144, 256, 3), np.uint8), 0
    for seed in range(12):
        frame, placed = stand_in(background, [disc()], rng(seed))
        assert not background.any(), "what was given is not painted on"
        hidden = np.max([cover for cover, _, _ in placed], axis=0)
        assert not frame[hidden == 0].any()
        assert (frame[hidden > 0.99] > 60).all()
        nearness = [near for _, near, _ in placed]
        assert nearness == sorted(nearness)  # the nearest covers the others
        assert 0.5 < nearness[0] <= nearness[-1] <= 1
        found += len(placed)
    assert found > 12  # sometimes several


def test_a_cutout_is_read_with_its_outline_and_only_plants_sway(tmp_path: Path) -> None:
    pixels = np.zeros((400, 800, 4), np.uint8)
    pixels[..., 2], pixels[:, 400:, 3] = 250, 255  # red, its right half
    for name in ("plants", "people"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), pixels)
    people, plants = (load_cutout(path) for path in find_cutouts(tmp_path))
    assert (plants.sways, people.sways) == (True, False)
    assert plants.cover.shape == (160, 320)
    assert (plants.cover[:, :150].max(), plants.cover[:, 170:].min()) == (0, 1)
    assert plants.picture[80, 300].tolist() == [250, 0, 0]
    cv2.imwrite(str(tmp_path / "opaque.png"), pixels[..., :3])
    with pytest.raises(ValueError, match=r"opaque\.png is not a picture with transparency"):
        load_cutout(tmp_path / "opaque.png")
    assert find_cutouts(None) == []


def test_a_background_out_of_focus_has_less_detail() -> None:
    sharp = rng().integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert blurred(sharp, rng(1)).std() < sharp.std()
