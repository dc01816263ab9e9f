"""What a camera sees beyond a still's edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from svd_ui.core.families.canvas import Canvas, margin_for
from svd_ui.media.image import crop_box, fit

ROOT = Path(__file__).parents[3]
Picture = NDArray[np.uint8]


def _photograph(name: str, size: tuple[int, int] | None = None) -> Picture:
    image = Image.open(ROOT / "benchmarks" / "data" / name).convert("RGB")
    return np.array(image if size is None else fit(image, *size))


def _noise(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


def _pixels(canvas: Canvas) -> Picture:
    return canvas.pixels[0].permute(1, 2, 0).add(1).mul(127.5).round().to(torch.uint8).cpu().numpy()


def _painted(still: Picture, x: float, y: float) -> Picture:
    return _pixels(Canvas.of(torch.from_numpy(still), None, (x, y)))


def _rest(height: int, width: int, zoom: float = 1.0) -> torch.Tensor:
    """Where the pixels of a frame look, from farther away where ``zoom`` is more than 1: [1 2 h w]."""
    half = max(height, width) / 2
    x, y = (torch.arange(width) + 0.5 - width / 2) / half, (torch.arange(height) + 0.5 - height / 2) / half
    return zoom * torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


def _steps(picture: Picture, column: int) -> float:
    """The mean step from ``column`` to the next."""
    return float(np.abs(picture[:, column + 1].astype(float) - picture[:, column]).mean())


@pytest.mark.parametrize(("height", "width"), [(72, 128), (128, 72), (64, 64)])
def test_the_still_is_in_the_canvas_to_the_bit(height: int, width: int) -> None:
    still = _photograph("pagoda.jpg", (width, height))
    canvas = Canvas.of(torch.from_numpy(still), None, (0.1, 0.2))
    inside = _pixels(canvas)[canvas.top :, canvas.left :][:height, :width]
    assert canvas.pixels.shape == (1, 3, height + 2 * canvas.top, width + 2 * canvas.left)
    assert (inside == still).all()


def test_at_rest_the_still_is_seen() -> None:
    still = torch.from_numpy(_photograph("pagoda.jpg", (96, 54)))
    seen = Canvas.of(still, None, (0.05, 0.05)).look(_rest(54, 96))
    assert seen.shape == (1, 3, 54, 96)
    assert seen.dtype == torch.float32
    assert (seen[0].permute(1, 2, 0) - (still / 127.5 - 1)).abs().max() < 1e-3


def test_the_photograph_outside_the_crop_is_seen_to_the_bit() -> None:
    picture = _photograph("pagoda.jpg")
    box = (100.0, 60.0, 356.0, 204.0)
    still = torch.from_numpy(picture[60:204, 100:356].copy())
    canvas = Canvas.of(still, (picture, box), (0.2, 0.2))
    assert (_pixels(canvas) == picture[60 - canvas.top : 204 + canvas.top, 100 - canvas.left : 356 + canvas.left]).all()


def test_the_photograph_goes_on_without_a_seam_in_a_smaller_still() -> None:
    picture = _photograph("friends.jpg")
    box = crop_box((picture.shape[1], picture.shape[0]), 192, 108)
    still = torch.from_numpy(np.array(fit(Image.fromarray(picture), 192, 108)))
    canvas = Canvas.of(still, (picture, box), (0.0, 0.25))
    step = (box[3] - box[1]) / 108
    larger = (0.0, box[1] - canvas.top * step, float(picture.shape[1]), box[3] + canvas.top * step)
    size = (192, 108 + 2 * canvas.top)
    wanted = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, box=larger))
    assert np.abs(_pixels(canvas).astype(int) - wanted).max() <= 2


def test_where_the_photograph_ends_it_is_painted_on() -> None:
    picture = _photograph("pagoda.jpg")
    height, width = picture.shape[:2]
    still = torch.from_numpy(picture[30:].copy())
    canvas = Canvas.of(still, (picture, (0.0, 30.0, float(width), float(height))), (0.0, 0.2))
    assert canvas.top > 30
    assert (_pixels(canvas)[canvas.top - 30 : canvas.top] == picture[:30]).all()
    assert _pixels(canvas)[: canvas.top - 30].std() > 1


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_thing_near_the_edge_has_no_twin_beyond_it(side: str) -> None:
    turns = ("right", "top", "left", "bottom").index(side)
    still = (_noise(96, 160) // 4 + np.array([20, 120, 40], np.uint8)).astype(np.uint8)
    y, x = np.mgrid[:96, :160]
    still[(y - 48) ** 2 + (x - 145) ** 2 < 9**2] = (230, 30, 30)
    painted = np.rot90(_painted(np.rot90(still, turns).copy(), 0.15, 0.15), -turns)
    margin_x, margin_y = (painted.shape[1] - 160) // 2, (painted.shape[0] - 96) // 2
    beyond = painted[margin_y:-margin_y, 160 + margin_x :].astype(int)
    assert ((beyond[..., 0] - beyond[..., 1]) > 60).mean() < 0.01
    mirrored = still[:, ::-1][:, : beyond.shape[1]].astype(int)
    assert abs(np.corrcoef(beyond[..., 0].ravel(), mirrored[..., 0].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("name", ["pagoda.jpg", "coffee.jpg", "picosdeeuropa.jpg", "friends.jpg"])
def test_no_seam_is_seen(name: str) -> None:
    still = _photograph(name, (256, 144))
    painted = _painted(still, 0.1, 0.1)
    for turned, (height, width) in ((painted, (144, 256)), (painted.transpose(1, 0, 2), (256, 144))):
        across, down = (turned.shape[1] - width) // 2, (turned.shape[0] - height) // 2
        rows = turned[down : down + height]
        for seam, inwards in ((across - 1, 1), (across + width - 1, -1)):
            inside = np.mean([_steps(rows, seam + inwards * n) for n in range(1, 9)])
            assert _steps(rows, seam) <= 1.3 * inside + 1


def test_what_is_rough_stays_as_rough() -> None:
    still = _photograph("picosdeeuropa.jpg", (256, 144))
    painted = _painted(still, 0.1, 0.0).astype(float)
    margin = (painted.shape[1] - 256) // 2
    for outside, inside in (
        (painted[:, : margin - 2], still[:, :margin]),
        (painted[:, -margin + 2 :], still[:, -margin:]),
    ):
        assert (
            0.6 < np.abs(np.diff(outside, axis=1)).mean() / np.abs(np.diff(inside.astype(float), axis=1)).mean() < 1.3
        )


def test_an_edge_goes_on_in_its_direction() -> None:
    y, x = np.mgrid[:144, :256]
    still = np.where((y > 40 + 0.3 * x)[..., None], (40, 60, 90), (210, 200, 190)).astype(np.uint8)
    painted = _painted(still, 0.08, 0.0)
    margin = (painted.shape[1] - 256) // 2
    y, x = np.mgrid[:144, -margin : 256 + margin]
    wanted = np.where((y > 40 + 0.3 * x)[..., None], (40, 60, 90), (210, 200, 190))
    assert (np.abs(painted.astype(int) - wanted).max(axis=2) > 60).mean() < 0.01


def test_a_sky_goes_on_without_a_step() -> None:
    y, x = np.mgrid[:144, :256]
    still = np.stack([60 + y / 3, 90 + x / 4 + y / 5, 200 - y / 4], axis=-1).round().astype(np.uint8)
    painted = _painted(still, 0.1, 0.1).astype(int)
    assert max(np.abs(np.diff(painted, axis=axis)).max() for axis in (0, 1)) <= 6


def test_the_same_still_is_painted_the_same_way() -> None:
    still = _photograph("coffee.jpg", (160, 90))
    assert (_painted(still, 0.1, 0.1) == _painted(still, 0.1, 0.1)).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 40), (40, 5), (16, 16), (8, 300)])
def test_tiny_and_narrow_stills_are_painted_too(height: int, width: int) -> None:
    still = _noise(height, width)
    canvas = Canvas.of(torch.from_numpy(still), None, (0.3, 0.3))
    assert (_pixels(canvas)[canvas.top :, canvas.left :][:height, :width] == still).all()
    assert canvas.left >= 1
    assert canvas.top >= 1


def test_without_a_margin_the_canvas_is_the_still() -> None:
    still = _noise(20, 30)
    assert (_pixels(Canvas.of(torch.from_numpy(still), None, (0.0, 0.0))) == still).all()


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90)])
def test_the_margin_for_a_clip_holds_all_it_looks_at(height: int, width: int) -> None:
    places = _rest(height, width, zoom=1.2)
    margin = margin_for(places, height, width)
    assert margin == pytest.approx((0.1, 0.1), abs=0.007)  # the outermost pixels have their middles half a pixel inside
    still = torch.from_numpy(_noise(height, width))
    assert Canvas.of(still, None, margin).outside(places) == 0
    assert Canvas.of(still, None, (0.05, 0.05)).outside(places) > 0
    assert margin_for(_rest(height, width, zoom=0.9), height, width) == (0.0, 0.0)


def test_beyond_the_canvas_its_edge_is_seen() -> None:
    canvas = Canvas.of(torch.from_numpy(_noise(30, 40)), None, (0.1, 0.1))
    seen = canvas.look(torch.tensor([5.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1))
    row = canvas.pixels[0, :, canvas.pixels.shape[2] // 2 - 1 : canvas.pixels.shape[2] // 2 + 1, -1]
    assert seen.flatten() == pytest.approx(row.mean(dim=1), abs=0.1)
    assert seen.dtype == torch.float32
