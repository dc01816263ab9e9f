"""Marks on a still: they read as they are written, and lie where they were made."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from svd_ui.steering.choreography import View
from svd_ui.steering.marks import Stroke, painted, read_arrows, read_strokes, written_arrows, written_strokes


def test_strokes_read_as_they_are_written() -> None:
    strokes = (
        Stroke(((0.1, 0.2), (0.3, 0.25)), 0.05),
        Stroke(((0.5, 0.5),), 0.1, erase=True),
        Stroke(((0.7, 0.1), (0.8, 0.9)), 0.02, angle=90, strength=1.5),
    )
    assert read_strokes(written_strokes(strokes)) == strokes


def test_arrows_read_as_they_are_written() -> None:
    text = "0.1,0.2>0.5,0.2; 0.3,0.9>0.4,0.8>0.6,0.8"
    assert written_arrows(read_arrows(text)) == text


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_strokes, "width=0.1:0.2", "a place is two numbers"),
        (read_strokes, "width=9:0.2,0.2", "from 0.002 to 1"),
        (read_strokes, "; ".join(["0.1,0.1"] * 201), "too many strokes"),
        (read_strokes, "0.1,0.1 " * 20_000, "too many marks"),
        (read_arrows, "0.1,0.2", "from one place to another"),
        (read_arrows, "0.1,0.2>inf,0", "from -0.5 to 1.5"),
        (read_arrows, "; ".join(["0,0>1,1"] * 17), "too many arrows"),
    ],
)
def test_what_is_no_mark_is_said(read: object, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(text)  # type: ignore[operator]


def test_a_stroke_is_as_broad_as_it_says_and_erasing_takes_it_away() -> None:
    line = Stroke(((0.2, 0.5), (0.8, 0.5)), 0.1)
    mask = painted([line], 200, 100)
    assert mask[50, 100] == 1
    assert mask[:, 100].sum() == pytest.approx(20, abs=1.5)
    assert mask[50, 10] == 0
    assert painted([line, Stroke(line.points, 0.2, erase=True)], 200, 100).max() == 0


def test_marks_stay_on_the_thing_when_the_crop_changes() -> None:
    whole = Image.new("RGB", (400, 200))
    stroke = Stroke(((0.5, 0.5),), 0.1)

    def view(box: tuple[float, float, float, float], size: tuple[int, int]) -> View:
        return View(whole.resize(size), box, lambda ref: whole, 2.0, 14, 1)

    everything = view((0, 0, 1, 1), (400, 200)).painted((stroke,))
    right_half = view((0.5, 0, 1, 1), (200, 200)).painted((stroke,))
    assert np.abs(everything[:, 200:] - right_half).mean() < 0.002
    larger = view((0.5, 0, 1, 1), (400, 400)).painted((stroke,))
    assert larger.sum() == pytest.approx(4 * right_half.sum(), rel=0.05)


def test_a_mask_picture_lies_over_the_whole_picture() -> None:
    mask = Image.new("L", (40, 20))
    mask.paste(255, (20, 0, 40, 20))
    view = View(Image.new("RGB", (100, 100)), (0.25, 0, 0.75, 1), lambda ref: mask, 2.0, 14, 1)
    found = view.mask("any")
    assert found.shape == (100, 100)
    assert found[:, :40].max() == 0
    assert found[:, 60:].min() == 1
