"""A scene looks where geometry says: the camera, what is near, what stirs, at any size and time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_ui.core.families.scene import ARC, PARALLAX, Scene, between, grid

CELLS = (18, 32)
STILL = {"pan_x": 0.0, "pan_y": 0.0, "zoom": 0.0, "roll": 0.0, "arc": 0.0}


def camera(frames: int = 1, **poses: float) -> Tensor:
    """[F 5], growing evenly from nothing in the first frame to ``poses`` in the last; of one frame these alone."""
    last = torch.tensor([*(STILL | poses).values()])
    return last * (torch.linspace(0, 1, frames)[:, None] if frames > 1 else torch.ones(1, 1))


def scene(nearness: Tensor | None = None, drift: Tensor | None = None, frames: int = 1, **poses: float) -> Scene:
    pose = camera(frames, **poses)
    flat = torch.zeros(CELLS) if nearness is None else nearness
    return Scene(pose, flat, torch.zeros(frames, 2, *CELLS) if drift is None else drift)


def near_right() -> Tensor:
    """The right half of the frame stands a quarter of the depth before its middle, the left as much behind."""
    sides = torch.full(CELLS, -0.25)
    sides[:, 16:] = 0.25
    return sides


def shift(made: Scene, height: int = 36, width: int = 64) -> Tensor:
    """How far beside its own place each pixel looks: [F 2 H W]."""
    return made.places(height, width) - grid(height, width, made.pose)


def test_places_are_halves_of_the_longer_side_from_the_middle() -> None:
    for height, width in ((18, 32), (32, 18), (24, 24)):
        x, y = grid(height, width, torch.zeros(()))
        assert x.mean() == pytest.approx(0, abs=1e-6)
        assert float(x[0, 1] - x[0, 0]) == pytest.approx(float(y[1, 0] - y[0, 0])) == pytest.approx(2 / max(x.shape))
        assert max(float(x.max()), float(y.max())) == pytest.approx(1 - 1 / max(x.shape))


def test_at_first_nothing_has_happened() -> None:
    drift = torch.zeros(4, 2, *CELLS)
    drift[1:] = 0.05
    made = scene(near_right(), drift, frames=4, pan_x=0.1, zoom=0.2, roll=0.1, arc=0.1)
    assert shift(made)[0].abs().max() < 1e-5
    assert shift(made)[3].abs().max() > 0.05


@pytest.mark.parametrize(
    ("pose", "looks"),
    [
        ({"pan_x": 0.1}, lambda x, y: (x + 0.1, y)),
        ({"pan_y": -0.1}, lambda x, y: (x, y - 0.1)),
        ({"zoom": math.log(2)}, lambda x, y: (x / 2, y / 2)),
        ({"zoom": -math.log(1.25)}, lambda x, y: (1.25 * x, 1.25 * y)),
        ({"roll": math.pi / 2}, lambda x, y: (-y, x)),
        ({"pan_x": 0.1, "zoom": math.log(2)}, lambda x, y: (x / 2 + 0.1, y / 2)),
    ],
    ids=["pan right", "tilt up", "push in", "pull back", "roll", "push to the right"],
)
def test_the_camera_looks_where_geometry_says(pose: dict[str, float], looks: Any) -> None:
    """What is at the middle after a pan to the right lay to the right of it; zoomed in twice, half as far away."""
    x, y = grid(36, 64, torch.zeros(()))
    torch.testing.assert_close(scene(**pose).places(36, 64)[0], torch.stack(looks(x, y)), atol=1e-5, rtol=0)


def test_what_is_near_moves_more_and_the_rest_less() -> None:
    moved = shift(scene(near_right(), pan_x=0.1))[0, 0]
    left, right = moved[:, 4:24].mean(), moved[:, 40:60].mean()
    assert float(right) == pytest.approx(0.1 * (1 + 0.25 * PARALLAX), rel=0.03)
    assert float(left) == pytest.approx(0.1 * (1 - 0.25 * PARALLAX), rel=0.03)
    assert float(moved.mean()) == pytest.approx(0.1, rel=0.05)


def test_an_arc_moves_near_and_far_against_each_other_and_the_middle_not() -> None:
    moved = shift(scene(near_right(), arc=0.02))[0]
    assert float(moved[0, :, 40:60].mean()) == pytest.approx(0.02 * ARC * 0.25, rel=0.03)
    assert float(moved[0, :, 4:24].mean()) == pytest.approx(-0.02 * ARC * 0.25, rel=0.03)
    assert moved[0].mean().abs() < 1e-3
    assert moved[1].abs().max() < 1e-6
    assert shift(scene(arc=0.02)).abs().max() < 1e-6  # of a flat picture it shows nothing


def test_only_what_stirs_bends_and_it_is_seen_where_the_camera_sees_it() -> None:
    drift = torch.zeros(1, 2, *CELLS)
    drift[0, 0, :, :12] = 0.03
    moved = shift(scene(drift=drift))[0, 0]
    assert float(moved[:, 2:20].mean()) == pytest.approx(0.03, rel=0.05)
    assert moved[:, 28:].abs().max() < 1e-4
    panned = (
        shift(scene(drift=drift, pan_x=0.5))[0, 0] - 0.5
    )  # a quarter of the width: half of what stirs is out of view
    assert float(panned[:, :6].mean()) == pytest.approx(0.03, rel=0.1)
    assert panned[:, 12:].abs().max() < 1e-4


def test_displacement_says_the_same_of_cells() -> None:
    made = scene(near_right(), 0.01 * torch.ones(3, 2, *CELLS), frames=3, pan_x=0.1, zoom=0.1, roll=0.05, arc=0.01)
    torch.testing.assert_close(made.displacement(), shift(made, *CELLS), atol=1e-5, rtol=0)


def test_frames_of_all_sizes_show_the_same() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 18), torch.linspace(-1, 1, 32), indexing="ij")
    made = scene(0.2 * (2 * x).sin() * y, 0.02 * torch.stack([x * y, y.cos()])[None], pan_x=0.1, zoom=0.1, roll=0.05)
    small, large = (made.places(height, 2 * height).double() for height in (72, 360))
    averaged = torch.nn.functional.avg_pool2d(large, 5)
    assert (averaged - small).abs().max() < 0.1 / 72  # a tenth of the small frame's pixel


def test_time_passes_smoothly_through_the_key_frames() -> None:
    pose = torch.tensor([0.0, 0.02, 0.07, 0.1, 0.09, 0.11])[:, None].expand(6, 5)
    drift = torch.randn(6, 2, *CELLS, generator=torch.Generator().manual_seed(0))
    keys = Scene(pose, torch.zeros(CELLS), drift)
    again = keys.at(torch.arange(6))
    torch.testing.assert_close(again.pose, pose)
    torch.testing.assert_close(again.drift, drift)
    assert torch.equal(again.nearness, keys.nearness)
    fine = keys.at(torch.linspace(0, 5, 501)).pose[:, 0].double()
    speed = fine.diff() * 100
    assert speed.diff().abs().max() < 0.01  # no jolt at a key frame: evenly between them it would be 0.07
    assert fine.min() >= -1e-3
    assert fine.max() <= 0.115  # and next to no overshoot


def test_between_key_frames_a_curve_stays_a_curve() -> None:
    times = torch.linspace(0, 4, 33)
    curve = torch.arange(5.0)
    torch.testing.assert_close(between(curve, times), times)
    torch.testing.assert_close(between(curve.square(), times), times.square(), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        between(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.5, 1.0])), torch.tensor([1.0, 2, 3])
    )
    assert between(torch.tensor([7.0]), torch.zeros(2)).tolist() == [7, 7]
