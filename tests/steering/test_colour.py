"""Colours held to the still's, and how far they drift."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from svd_ui.steering.colour import Drift, drift, lab_of, matched, srgb_of

from .test_carry_on import texture

Frames = NDArray[np.uint8]
STILL = texture().round().astype(np.uint8)


@pytest.mark.parametrize(
    ("srgb", "lab"),  # as published for sRGB under D65, e.g. brucelindbloom.com's calculator
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_colours_are_those_of_the_standard(srgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    assert lab_of(np.array(srgb, np.uint8)) == pytest.approx(lab, abs=0.1)


def test_there_and_back_is_the_same_to_the_bit() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    assert np.array_equal(srgb_of(lab_of(colours)), colours)


def test_colours_agree_with_scikit_image() -> None:
    colour = pytest.importorskip("skimage.color")
    assert np.abs(lab_of(STILL) - colour.rgb2lab(STILL)).max() < 0.05


def drifting(frames: Frames) -> Frames:
    """What a checkpoint that drifts does in one segment: warmer, flatter, a little lighter."""
    lab = lab_of(frames)
    return srgb_of(((lab - (50, 0, 0)) * (0.96, 1, 1) + (51, 1.5, 2)).astype(np.float32))


def curve(segments: int, lock: bool) -> list[float]:
    """Delta E of the mean colour after each segment of a chain."""
    frame, found = STILL, []
    for _ in range(segments):
        frame = drifting(matched(frame[None], STILL)[0] if lock else frame)
        found.append(drift(frame, STILL).delta_e)
    return found


def test_locked_colours_drift_at_most_a_third_as_far_as_naive_ones() -> None:
    naive, locked = curve(8, lock=False), curve(8, lock=True)
    for way, figures in (("naive", naive), ("locked", locked)):
        print(f"{way}: delta E {[round(figure, 1) for figure in figures]}")
    assert locked[-1] <= naive[-1] / 3
    assert max(locked) < 4 and sorted(naive) == naive


def test_matching_leaves_what_matches() -> None:
    again = matched(STILL[None], STILL)[0]
    assert np.abs(again.astype(int) - STILL.astype(int)).max() <= 1


def test_frames_are_matched_together_so_that_none_flickers() -> None:
    """A frame that is darker than its neighbours for a reason stays so."""
    dark = (STILL * 0.8).astype(np.uint8)
    after = matched(np.stack([STILL, dark]), STILL)
    assert after[1].mean() < after[0].mean() - 15


def test_a_grey_frame_gets_no_colour_noise() -> None:
    grey = np.repeat(STILL[..., :1], 3, 2)
    spread = lab_of(matched(grey[None], STILL)[0])[..., 1:].std((0, 1))
    assert (spread < 2).all()


def test_drift_is_none_from_itself_and_sees_blur() -> None:
    assert drift(STILL, STILL) == Drift(0, 1)
    blurred = ((STILL.astype(int) + np.roll(STILL, 2, 0) + np.roll(STILL, 2, 1) + np.roll(STILL, 3, 0)) / 4).astype(
        np.uint8
    )
    assert drift(blurred, STILL).sharpness < 0.8 and drift(blurred, STILL).delta_e < 2
