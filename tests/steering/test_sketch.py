"""The sketch of a plan shows where the camera goes, what is held and what moves by itself, in next to no time."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from svd_ui.steering import camera
from svd_ui.steering.choreography import Choreography, Picture, Scenery, View
from svd_ui.steering.marks import Mask
from svd_ui.steering.sketch import FRAMES, sketch, small, strip

SIZE = (256, 144)
DOT = 10


def still(x: float = 0.5, y: float = 0.5) -> Image.Image:
    """A red square at a place on black."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    across, down = round(x * SIZE[0]), round(y * SIZE[1])
    picture[down - DOT : down + DOT, across - DOT : across + DOT, 0] = 255
    return Image.fromarray(picture)


def view(picture: Image.Image) -> View:
    return View(picture, (0, 0, 1, 1), lambda ref: picture, seconds=2, frames=14, seed=0)


def square(frame: Image.Image) -> Mask:
    """Where the red is; lines that are drawn over it are white."""
    pixels = np.asarray(frame)
    return (pixels[..., 0] > 150) & (pixels[..., 1] < 60)


def end(path: str, x: float = 0.5, y: float = 0.5, **plan: object) -> tuple[float, float, float]:
    """(x, y) of the square in the last frame, shares of it, and its area against that in the first."""
    first, *_, last = sketch(
        Choreography(camera=camera.read(path), parallax=0.0, **plan),
        view(still(x, y)),
        width=SIZE[0],  # type: ignore[arg-type]
    )
    areas = [square(frame) for frame in (first, last)]
    down, across = np.nonzero(areas[1])
    return float(across.mean()) / SIZE[0], float(down.mean()) / SIZE[1], float(areas[1].sum() / areas[0].sum())


def test_the_picture_goes_where_the_camera_comes_from() -> None:
    x, y, area = end("pan=0.1,tilt=0.2", 0.3, 0.3)
    assert (x, y) == pytest.approx((0.2, 0.5), abs=0.02)
    assert area == pytest.approx(1, abs=0.1)


def test_a_zoom_enlarges_and_a_roll_turns_clockwise() -> None:
    x, y, area = end("zoom=1.5", 0.3, 0.5)
    assert (x, y, area) == pytest.approx((0.2, 0.5, 2.25), abs=0.15)
    x, y, _ = end("roll=45", 0.75, 0.5)  # what is at the right goes down
    assert y > 0.6 and x < 0.75


def test_near_things_move_more_than_far_ones() -> None:
    near = np.full((9, 16), 0.5, np.float32)
    moved = []
    for nearness in (near, -near):
        plan = Choreography(camera=camera.read("pan=-0.1"), parallax=1.0, nearness=nearness)
        last = sketch(plan, view(still(0.3)), width=SIZE[0])[-1]
        moved.append(np.nonzero(square(last))[1].mean() / SIZE[0] - 0.3)
    assert moved[0] > 2 * moved[1] > 0


def test_what_is_held_lies_under_a_veil() -> None:
    hold: Mask = np.zeros((9, 16), np.float32)
    hold[:, :8] = 1
    frame = np.asarray(sketch(Choreography(hold=hold), view(still(0.8)), width=SIZE[0])[0])
    assert frame[40, 20].tolist() == [28, 28, 28] and frame[20, 240].tolist() == [0, 0, 0]


def test_what_moves_by_itself_is_shown_moving_and_arrows_are_drawn() -> None:
    def scenery(picture: Picture) -> Scenery:
        return lambda time: np.full_like(picture, round(200 * time))

    frames = sketch(Choreography(scenery=scenery), view(still()), width=SIZE[0], frames=3)
    assert [frame.getpixel((5, 5)) for frame in frames] == [(0,) * 3, (100,) * 3, (200,) * 3]
    drawn = np.asarray(sketch(Choreography(), view(still()), SIZE[0], 2, arrows=[((0.1, 0.1), (0.4, 0.1))])[0])
    assert drawn[14, 60].tolist() == [255, 255, 255]


def test_a_sketch_is_there_before_one_has_looked() -> None:
    """Processor time at 512 pixels, encoded; ten times what it takes is allowed."""
    picture = still().resize((1024, 576))
    plan = Choreography(camera=camera.read("push in, arc left, handheld=0.5"), hold=np.ones((576, 1024), np.float32))
    assert small(view(picture)) == (512, 288)
    sketch(plan, view(picture))  # OpenCV is loaded once
    start = time.process_time()
    sheet = strip(sketch(plan, view(picture), arrows=[((0.1, 0.1), (0.4, 0.1))]))
    sheet.save(io.BytesIO(), "JPEG", quality=80)
    assert time.process_time() - start < 0.9
    assert sheet.size == (512, 288 * FRAMES)
