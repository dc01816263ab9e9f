"""What was behind a thing is put together from what is around it."""

from __future__ import annotations

import numpy as np
import pytest

from svd_ui.steering.inpainting import without

from .drawn import HEIGHT, WIDTH, disc_mask, orange, with_disc


@pytest.mark.parametrize("scale", [1, 3])
def test_the_thing_is_gone_and_all_else_is_as_it_was(scale: int) -> None:
    picture = with_disc(scale * WIDTH, scale * HEIGHT)
    plate = without(picture, disc_mask())
    assert orange(plate).max() < 0.25
    far = disc_mask(scale * WIDTH, scale * HEIGHT, (90, 70, 34)) == 0
    np.testing.assert_array_equal(plate[far], picture[far])


def test_a_texture_goes_on_behind_the_thing() -> None:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    stripes = np.repeat((127 + 90 * np.sin(x * 2 * np.pi / 12 + y * 0.1)).astype(np.uint8)[..., None], 3, axis=2)
    mask = disc_mask()
    covered = np.where(mask[..., None] > 0, 255, stripes).astype(np.uint8)
    assert np.abs(without(covered, mask).astype(int) - stripes)[mask > 0].mean() < 12


def test_nothing_covered_or_all_of_it_is_the_picture_itself() -> None:
    picture = with_disc()
    assert without(picture, np.zeros((HEIGHT, WIDTH), np.float32)) is picture
    assert without(picture, np.ones((HEIGHT, WIDTH), np.float32)) is picture
