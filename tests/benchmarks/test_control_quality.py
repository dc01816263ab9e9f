"""The table of control methods: good clips keep its limits and known bad ones miss them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from benchmarks.control_quality import camera, facts, figures
from benchmarks.control_quality.case import Found
from benchmarks.control_quality.table import LINES, rows
from benchmarks.control_quality.times import dissolved
from benchmarks.nano_quality.labels import labels
from benchmarks.nano_quality.looks import sharpness
from benchmarks.nano_quality.tracks import Frames, track
from svd_ui.steering.camera import Pose
from tests.benchmarks.test_nano_quality import SIZE, painting

COUNT = 16
PAINTING = painting()


def moved(x: float, y: float, zoom: float = 1.0) -> Frames:
    matrix = cv2.getRotationMatrix2D(((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), 0, zoom)
    matrix[:, 2] += x, y
    return np.asarray(cv2.warpAffine(PAINTING, matrix, SIZE[::-1], borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def circle() -> Frames:
    turns = 2 * np.pi * np.arange(COUNT) / COUNT
    return np.stack([moved(20 * np.cos(turn), 20 * np.sin(turn)) for turn in turns])


def there_and_back() -> Frames:
    return np.stack([moved(6 * min(k, COUNT - k), 0) for k in range(COUNT)])


def pan() -> Frames:
    return np.stack([moved(4 * k, 0) for k in range(COUNT)])


def test_a_circle_is_a_loop_without_a_seam_that_never_goes_back() -> None:
    assert figures.seam(circle()) < 1.1
    assert figures.jump(circle()) < 1.2
    assert figures.palindrome(circle()) == pytest.approx(1, abs=0.2)


def test_a_clip_that_goes_back_the_way_it_came_is_found_out() -> None:
    assert figures.seam(there_and_back()) < 1.1
    assert figures.palindrome(there_and_back()) == pytest.approx(0, abs=0.1)


def test_an_open_clip_has_a_seam() -> None:
    assert figures.seam(pan()) > 1.5


def test_a_clip_that_jumps_is_found_out() -> None:
    assert figures.jump(np.concatenate([pan()[:5], pan()[12:]])) > 1.3


@pytest.mark.parametrize(("pose", "there"), [(Pose(pan=0.05), (-25.6, 0, 1)), (Pose(tilt=0.1), (0, 28.8, 1)), (Pose(zoom=1.1), (0, 0, 1.1))])  # fmt: skip
def test_a_camera_on_its_path_keeps_the_limit_and_one_beside_it_misses(
    pose: Pose, there: tuple[float, float, float]
) -> None:
    wanted = camera.asked(pose, SIZE)
    right = camera.camera(track(np.stack([moved(0, 0), moved(*there)])))
    wrong = camera.camera(track(np.stack([moved(0, 0), moved(there[0] + 3, there[1], there[2])])))
    assert wanted.distance(right) < camera.MOST_PIXELS
    assert wanted.distance(wrong) > 2


def test_a_flow_that_turns_at_a_seam_is_told_from_one_that_goes_on() -> None:
    on = figures.across(np.stack([moved(0, 0), moved(4, 0), moved(8, 0)]))
    turned = figures.across(np.stack([moved(0, 0), moved(4, 0), moved(4, 8)]))
    assert on is not None and turned is not None
    assert on == pytest.approx((1, 1), abs=0.05)
    assert abs(turned[0]) < 0.1
    assert turned[1] == pytest.approx(2, abs=0.1)
    assert figures.across(np.stack([moved(0, 0)] * 3)) is None


def test_the_speed_of_a_part_is_its_own() -> None:
    frames = np.stack([np.concatenate([PAINTING[:, :256], moved(2 * k, 0)[:, 256:]], axis=1) for k in range(4)])
    left, right = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    left[:, :200], right[:, 300:440] = 255, 255
    still, going = figures.speed(frames, left), figures.speed(frames, right)
    assert still is not None and going is not None
    assert still < 0.05
    assert going == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("side", [6, 60])
def test_a_thing_is_found_where_it_went_however_small_it_is(side: int) -> None:
    area = np.zeros(SIZE, np.uint8)
    area[100 : 100 + side, 200 : 200 + side] = 255
    came = figures.way(np.stack([moved(6 * k, -3 * k) for k in range(4)]), area)
    assert came == pytest.approx([18, -9], abs=0.1)


def test_a_dissolve_between_two_views_is_not_sharp() -> None:
    frames = dissolved(moved(0, 0), moved(20, 0), 9)
    assert figures.sharp(frames, sharpness(PAINTING)) < 0.85


def test_a_row_says_where_its_worst_is_and_how_many_miss() -> None:
    found = Found({"loop: seam": [(1.0, "a 1"), (1.1, "b 1"), (2.0, "c 1")], "loop: seam, plain": [(7.0, "a 1")]})
    (row,) = rows(found, ["loop"])
    assert (row.value, row.passed) == (1.1, True)
    assert row.note == "worst 2 (c 1), 1 of 3 miss; plain 7"


def test_every_limit_of_the_methods_has_a_line() -> None:
    assert set(LINES) == {"camera", "lock", "drag", "brush", "end_frame", "loop", "extend"}
    assert all(any(line.at_most is not None or line.at_least is not None for line in lines) for lines in LINES.values())


def test_every_photograph_has_an_arrow() -> None:
    for one in labels().values():
        (x, y), (u, v) = one.drag
        assert 0 < min(x, y, u, v) and max(x, y, u, v) < 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["camera", "lock", "drag", "brush", "end frame", "loop"])
def test_a_method_asks_svd_xt_as_often_as_it_says(name: str) -> None:
    one, plain = facts.facts(name), facts.facts("plain")
    assert one.evaluations / plain.evaluations == pytest.approx(one.said)
    assert one.frames == 25
    assert one.formats["U-Net"] == "float16"
    assert one.formats["latents"] == "float32 on cpu"
