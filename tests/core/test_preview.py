"""The glimpse shown while a clip forms."""

from __future__ import annotations

import io
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import CheckpointRow, folder_row
from svd_ui.core.decode import MAX_SIDE, preview_jpeg


def row(**values: object) -> CheckpointRow:
    defaults = {"id": "x", "title": "x", "num_frames": 4, "width": 64, "height": 64}
    return CheckpointRow.model_validate({**defaults, **values})


def test_the_matrix_gives_the_colours_of_the_middle_frame() -> None:
    coloured = row(preview=((0.5, 0, 0), (0, 0.5, 0)), preview_bias=(0.5, 0.5, 0.0))
    latents = torch.zeros(1, 3, 2, 9, 16)
    latents[0, 1, 0], latents[0, 1, 1] = 1, -1
    picture = Image.open(io.BytesIO(preview_jpeg(coloured, latents) or b""))
    assert (picture.format, picture.size) == ("JPEG", (256, 144))
    red, green, blue = picture.getpixel((128, 72))
    assert red > 245
    assert green < 10
    assert blue < 10


def moving(across: float = 0.0, down: float = 0.0, gain: float = 8.0) -> torch.Tensor:
    """One channel that rises from 0 at the left to 1 at the right; the middle frame looks so many cells away."""
    latents = torch.zeros(1, 5, 3, 9, 16)
    latents[0, :, 0] = torch.linspace(0, 1, 16)
    latents[0, :, 1] = (torch.arange(16) + 0.5 - 8 + gain * across / 3) / 8
    latents[0, :, 2] = (torch.arange(9)[:, None] + 0.5 - 4.5 + gain * down / 3) / 8
    return latents


def red(row: CheckpointRow, latents: torch.Tensor) -> list[int]:
    """Along the middle of the preview, once in every cell."""
    picture = Image.open(io.BytesIO(preview_jpeg(row, latents) or b""))
    return [int(np.asarray(picture)[72, 8 + 16 * cell, 0]) for cell in range(16)]


def test_a_cell_has_the_colour_of_where_it_looks() -> None:
    colours, black = ((1, 0, 0), (0, 0, 0), (0, 0, 0)), (0.0, 0.0, 0.0)
    warped = row(preview=colours, preview_bias=black, family="warp", motion_gain=8.0)
    still = red(warped, moving())
    assert still == pytest.approx([17 * cell for cell in range(16)], abs=4)
    assert red(warped, moving(down=3)) == pytest.approx(still, abs=4)
    assert red(warped, moving(across=1)) == pytest.approx([*still[1:], still[-1]], abs=4)  # the last one repeats
    between = [(a + b) / 2 for a, b in itertools.pairwise(still)]
    assert red(warped, moving(across=-0.5)) == pytest.approx([still[0], *between], abs=4)
    assert red(row(preview=colours, preview_bias=black), moving(across=1)) == pytest.approx(still, abs=4)


def test_wild_latents_still_give_a_picture(tiny_folder: Path) -> None:
    latents = torch.full((1, 4, 4, 8, 12), float("nan"))
    latents[..., ::2] = 1e9
    for gain in (0.0, 8.0):
        tiny = folder_row(tiny_folder, family="warp", motion_gain=gain)
        assert Image.open(io.BytesIO(preview_jpeg(tiny, latents) or b"")).size == (256, 171)


def test_without_a_matrix_there_is_none() -> None:
    assert preview_jpeg(row(), torch.zeros(1, 4, 16, 8, 8)) is None


@pytest.mark.slow  # it times: on a machine that does other work too it tells nothing
@pytest.mark.parametrize(("gain", "size"), [(0.0, (72, 128)), (8.0, (18, 32))])
def test_it_costs_less_than_one_percent_of_the_shortest_step(
    tiny_folder: Path, gain: float, size: tuple[int, int]
) -> None:
    """A step of the embedded checkpoint takes 0.3 s on two cores; the preview of a full-size clip is no dearer."""
    tiny, latents, seconds = folder_row(tiny_folder, family="warp", motion_gain=gain), torch.zeros(1, 25, 4, *size), []
    for _ in range(20):
        started = time.perf_counter()
        data = preview_jpeg(tiny, latents)
        seconds.append(time.perf_counter() - started)
    assert data is not None
    assert max(Image.open(io.BytesIO(data)).size) <= MAX_SIDE
    assert min(seconds) < 0.003
