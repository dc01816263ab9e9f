"""Camera paths: what people write is what the camera does, and comes back as it was written."""

from __future__ import annotations

import math

import numpy as np
import pytest

from svd_ui.steering.camera import LIMITS, MOVES, NAMES, CameraPath, Pose, read, scaled


def at_the_end(text: str) -> dict[str, float]:
    return dict(zip(NAMES, read(text).poses([1.0], 2.0)[0], strict=True))


def test_a_value_is_where_the_camera_is_in_the_end() -> None:
    end = at_the_end("zoom=1.2, pan=-0.1, roll=5")
    assert end["pan"] == pytest.approx(-0.1)
    assert end["zoom"] == pytest.approx(math.log(1.2))
    assert end["roll"] == pytest.approx(5)
    assert end["tilt"] == end["arc"] == end["dolly"] == 0


@pytest.mark.parametrize(
    "text", ["push in", "0.5:zoom=1.2; 1:pan=0.1", "orbit", "zoom=1.3; handheld=1", "arc left; ease=out"]
)
def test_every_clip_begins_at_rest(text: str) -> None:
    assert np.abs(read(text).poses([0.0], 3.0, seed=7)[:, :6]).max() < 1e-12


@pytest.mark.parametrize("move", MOVES)
def test_moves_go_by_name_by_half_and_together(move: str) -> None:
    whole, half = read(move).keys[0][1], read(f"{move}*0.5").keys[0][1]
    assert whole == MOVES[move]
    assert half == scaled(MOVES[move], 0.5)
    both = read(f"{move}, roll=3").keys[0][1]
    assert both.roll == 3


def test_moves_add_up() -> None:
    pose = read("push in, pan left, pan left").keys[0][1]
    assert pose == Pose(zoom=1.15, pan=-0.2)


def test_keyframes_are_passed_and_never_overshot() -> None:
    path = read("25%:zoom=1.5; 0.5:zoom=1.5; 1:zoom=1")
    zooms = np.exp(path.poses(np.linspace(0, 1, 81), 2.0)[:, NAMES.index("zoom")])
    assert zooms[20] == pytest.approx(1.5)
    assert zooms[40] == pytest.approx(1.5)
    assert zooms[80] == pytest.approx(1)
    assert zooms.max() <= 1.5 + 1e-9


def test_easing_rests_at_the_ends_it_names() -> None:
    speeds = {}
    for ease in ("linear", "in", "out", "in-out"):
        pan = read(f"pan=0.2; ease={ease}").poses(np.linspace(0, 1, 101), 2.0)[:, 0]
        speeds[ease] = (pan[1] - pan[0]) / 0.002, (pan[-1] - pan[-2]) / 0.002
        assert (np.diff(pan) >= 0).all()
    assert speeds["linear"] == pytest.approx((1, 1))
    assert speeds["in"][0] < 0.05 < 1 < speeds["in"][1]
    assert speeds["out"][1] < 0.05 < 1 < speeds["out"][0]
    assert max(speeds["in-out"]) < 0.05


def test_an_orbit_is_round_on_the_screen_even_and_ends_where_it_began() -> None:
    aspect = 2.0
    found = read("orbit").poses(np.linspace(0, 1, 101), 2.0, aspect=aspect)
    x, y = found[:, 0], found[:, 1] / aspect
    assert np.allclose(found[0], found[-1], atol=1e-9)
    radius = np.hypot(x, y + MOVES["orbit"].orbit)
    assert radius == pytest.approx(MOVES["orbit"].orbit)


def test_a_hand_trembles_the_same_for_the_same_seed_and_more_the_more_it_is_asked_to() -> None:
    times = np.linspace(0, 1, 60)
    one, again, other = (read("handheld=1").poses(times, 3.0, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert np.abs(one - other).max() > 0.001
    assert np.abs(read("handheld=0.3").poses(times, 3.0, 1)).max() == pytest.approx(0.3 * np.abs(one).max())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pan=-0.1,zoom=1.2",
        "0.5:zoom=1.2; 1:zoom=1",
        "roll=6; ease=linear",
        "handheld=0.5",
        "tilt=0.1; ease=in,handheld=1",
    ],
)
def test_what_is_written_reads_the_same(text: str) -> None:
    path = read(text)
    assert path.written() == text
    assert read(path.written()) == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spin", "a move is push in"),
        ("zoom=9", "zoom is a number from 0.5 to 4"),
        ("zoom=nan", "zoom is a number"),
        ("ease=bounce", "ease is in-out, in, out or linear"),
        ("yaw=1", "the camera has no 'yaw'"),
        ("1.5:zoom=1.2", "a keyframe’s time"),
        ("; ".join(f"{i / 20}:pan=0.1" for i in range(1, 19)), "at most 16 keyframes"),
    ],
)
def test_what_it_cannot_read_it_says_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(text)


def test_strength_stays_within_what_the_camera_may() -> None:
    for move in MOVES:
        for value, name in zip(read(f"{move}*4, {move}*4").poses([1.0], 1.0)[0], NAMES, strict=True):
            low, high = LIMITS[name]
            limit = (math.log(low), math.log(high)) if name in ("zoom", "dolly") else (low - 0.3, high + 0.3)
            assert limit[0] - 1e-9 <= value <= limit[1] + 1e-9


def test_nothing_is_still() -> None:
    assert read("").still
    assert CameraPath.to(Pose()).still
    assert not read("pan left").still
