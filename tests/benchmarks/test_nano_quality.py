"""What the quality table measures is what was put into synthetic clips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from benchmarks.nano_quality import layers, moves, rubber
from benchmarks.nano_quality.labels import inner, labels, mask, outside
from benchmarks.nano_quality.tracks import Frames, at_rate, camera, track

SIZE, FRAMES = (288, 512), 8
MIDDLE = np.array([256.0, 144.0])
Places = NDArray[np.floating[Any]]
Field = Callable[[Places, float], Places]
"""Pixels [... 2] of the frame at a time 0..1 => where they look in the still."""


def painting() -> Frames:
    """Grain of several sizes, and straight bars for edges to follow."""
    rng = np.random.default_rng(7)
    layers = [
        cv2.resize(rng.normal(size=(SIZE[0] // n, SIZE[1] // n)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (6, 12, 32)
    ]
    grain = np.sum(layers, axis=0) * 22 + 120
    for x in range(60, 500, 90):
        cv2.rectangle(grain, (x, 40), (x + 12, 250), 235.0, -1)
    return np.repeat(grain.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def clip(field: Field) -> Frames:
    """[F H W 3]; looked up by torch, which knows places to more than OpenCV's 32nd of a pixel."""
    (height, width), still = SIZE, torch.from_numpy(painting()).permute(2, 0, 1)[None].float()
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float64)
    looks = np.stack([field(pixels, t) for t in np.linspace(0, 1, FRAMES)])
    grid = torch.from_numpy((looks + 0.5) / (width, height) * 2 - 1).float()
    found = functional.grid_sample(still.expand(FRAMES, -1, -1, -1), grid, "bicubic", "reflection", align_corners=False)
    return found.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def zoom(p: Places, t: float) -> Places:
    return MIDDLE + (p - MIDDLE) * np.exp(-0.1 * t)


def sliding(x: float, y: float) -> Field:
    return lambda p, t: p - np.array([x, y]) * t


def rolled(p: Places, t: float) -> Places:
    cos, sin = np.cos(0.12 * t), np.sin(0.12 * t)
    return MIDDLE + (p - MIDDLE) @ np.array([[cos, -sin], [sin, cos]])


def disc(p: Places) -> Places:
    """1 within 90 pixels of the middle, 0 beyond 120."""
    return np.asarray(np.clip((120 - np.linalg.norm(p - MIDDLE, axis=-1, keepdims=True)) / 30, 0, 1))


def orbiting(p: Places, t: float) -> Places:
    return p - np.array([16.0, 0]) * t * (disc(p) - 0.5)


def going(way: Field) -> Field:
    """What lies at a place of the still goes ``way(place, t)``: looked up the other way round."""

    def looks(p: Places, t: float) -> Places:
        places = p
        for _ in range(8):
            places = p - way(places, t)
        return places

    return looks


near_faster = going(lambda p, t: np.array([20.0, 0]) * t * (1 + 0.6 * disc(p)))


def bent(p: Places, t: float) -> Places:
    return p + t * 8 * np.stack([np.sin(p[..., 1] / 16), np.zeros_like(p[..., 0])], axis=-1)


FIELDS: dict[str, Field] = {
    "push": zoom,
    "pull": lambda p, t: MIDDLE + (p - MIDDLE) * np.exp(0.1 * t),
    "pan right": sliding(-20, 1),
    "pan left": sliding(20, 3),
    "tilt up": sliding(2, 15),
    "tilt down": sliding(0, -15),
    "none": lambda p, t: p,
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_move_is_called_what_a_camera_operator_calls_it(kind: str) -> None:
    assert moves.kind(track(clip(FIELDS[kind]))) == kind


@pytest.mark.parametrize("field", [rolled, orbiting])
def test_rolls_and_orbits_are_one_kind(field: Field) -> None:
    tracks = track(clip(field))
    assert moves.kind(tracks) == "roll or orbit"
    assert moves.orbits(tracks) == (field is orbiting)


def test_parallax_alone_is_no_orbit() -> None:
    assert moves.kind(track(clip(near_faster))) == "pan left"


def test_the_camera_is_read_to_a_tenth_of_a_pixel() -> None:
    move = camera(track(clip(zoom)))
    assert move.log_scale == pytest.approx(0.1, abs=0.001)
    assert camera(track(clip(sliding(20, 3)))).shift == pytest.approx((20, 3), abs=0.1)
    assert camera(track(clip(rolled))).roll == pytest.approx(0.12, abs=0.002)


def test_path_and_spread_are_lengths_over_the_frame() -> None:
    right, left = (track(clip(sliding(x, 0))) for x in (20, -20))
    assert moves.path(right) == pytest.approx(20, abs=0.2)
    assert moves.spread([camera(right), camera(left)]) == pytest.approx(2, abs=0.02)
    assert moves.spread([camera(right), camera(right)]) == 0


def test_a_jump_and_an_easing_show_in_the_steps() -> None:
    even = moves.steps(track(clip(sliding(26, 0))))
    assert even.max() / np.median(even) < 1.1
    assert moves.eases(even) == pytest.approx((1, 1), abs=0.1)
    eased = moves.steps(track(clip(lambda p, t: p - np.array([26.0, 0]) * (3 - 2 * t) * t * t)))
    assert max(moves.eases(eased)) < 0.4
    jumped = moves.steps(track(clip(lambda p, t: p - np.array([13.0, 0]) * (t + 0.4 * (t > 0.95)))))
    assert jumped.max() / np.median(jumped) > 3


@pytest.mark.parametrize("field", [zoom, rolled, sliding(20, 0)])
def test_a_camera_leaves_no_rubber(field: Field) -> None:
    frames = clip(field)
    left, off = rubber.rubber(track(frames)), rubber.bend(frames)
    assert left is not None and left < 0.4
    assert off is not None and off < 0.35


def test_what_waves_is_rubber_and_bends_edges() -> None:
    frames = clip(bent)
    left, off = rubber.rubber(track(frames)), rubber.bend(frames)
    assert left is not None and left > 2
    assert off is not None and off > 2


LEFT, RIGHT, DISC = [[0.0, 0.0], [0.25, 0.0], [0.25, 1.0], [0.0, 1.0]], [[0.75, 0.0], [1.0, 0.0], [1.0, 1.0], [0.75, 1.0]], [[0.38, 0.3], [0.62, 0.3], [0.62, 0.7], [0.38, 0.7]]  # fmt: skip


def test_depth_is_read_from_a_pan_and_from_a_push() -> None:
    near, far = mask([DISC], SIZE, SIZE), mask([LEFT, RIGHT], SIZE, SIZE)
    assert layers.parallax(clip(near_faster), near, far) == pytest.approx(1.6, abs=0.08)
    assert layers.parallax(clip(zoom), near, far) == pytest.approx(1, abs=0.05)
    assert layers.parallax(clip(lambda p, t: MIDDLE + (p - MIDDLE) * np.exp(-0.15 * t * (1 + 0.5 * disc(p)))), near, far) == pytest.approx(1.5, abs=0.12)  # fmt: skip
    assert layers.parallax(clip(rolled), near, far) is None


def test_what_stirs_is_told_from_camera_and_depth() -> None:
    around = [[0.25, 0.05], [0.75, 0.05], [0.75, 0.95], [0.25, 0.95]]
    parts = inner(mask([DISC], SIZE, SIZE)), outside(mask([around], SIZE, SIZE))

    def waving(p: Places, t: float) -> Places:
        phase = p[..., :1] / 13
        return disc(p) * 2 * (np.sin(9 * t + phase) - np.sin(phase)) * np.array([0, 1.0])

    stirring = going(lambda p, t: np.array([20.0, 0]) * t * (1 + 0.6 * disc(p)) + waving(p, t))
    calm, alive = layers.stir(clip(near_faster), *parts), layers.stir(clip(stirring), *parts)
    assert calm is not None and calm.inside < 0.2 and calm.outside < 0.1
    assert alive is not None and alive.inside > 1 and alive.outside < 0.1
    drifting = going(lambda p, t: np.array([20.0, 0]) * t * (1 + 0.6 * disc(p)) + disc(p) * np.array([0, 5.0]) * t)
    steady = layers.stir(clip(drifting), *parts)
    assert steady is not None and steady.inside == pytest.approx(5 / 7, abs=0.2)


def test_labels_are_laid_on_the_crop_that_is_animated() -> None:
    whole = [[[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 0.5]]]
    drawn = mask(whole, (512, 512), SIZE)
    assert drawn[:143].all() and not drawn[146:].any()
    assert not mask([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.2], [0.0, 0.2]]], (512, 512), SIZE).any()  # above the crop


def test_six_photographs_have_layers_and_all_polygons_lie_in_their_picture() -> None:
    known = labels()
    assert len(known) == 10 and sum(one.deep for one in known.values()) == 6
    for one in known.values():
        for polygon in (*one.near, *one.far, *one.stirring):
            assert len(polygon) >= 3
            assert np.array(polygon).min() >= 0 and np.array(polygon).max() <= 1


def test_clips_are_compared_at_one_rate() -> None:
    frames = np.zeros((63, 2, 2, 3), np.uint8)
    assert len(at_rate(frames, 24)) == 19
    assert len(at_rate(frames[:14], 7)) == 14
    assert len(at_rate(frames[:14], 5)) == 14
