"""The glimpse shown while a clip forms."""

from __future__ import annotations

import io
import time
from pathlib import Path

import torch
from PIL import Image

from svd_ui.catalog import CheckpointRow, folder_row
from svd_ui.core.preview import MAX_SIDE, preview_jpeg


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


def test_wild_latents_still_give_a_picture(tiny_folder: Path) -> None:
    latents = torch.full((1, 4, 4, 8, 12), float("nan"))
    latents[..., ::2] = 1e9
    assert Image.open(io.BytesIO(preview_jpeg(folder_row(tiny_folder), latents) or b"")).size == (256, 171)


def test_without_a_matrix_there_is_none() -> None:
    assert preview_jpeg(row(), torch.zeros(1, 4, 16, 8, 8)) is None


def test_it_costs_less_than_one_percent_of_the_shortest_step(tiny_folder: Path) -> None:
    """A step of the embedded checkpoint takes 0.3 s on two cores; the preview of a full-size clip is no dearer."""
    tiny, latents, seconds = folder_row(tiny_folder), torch.zeros(1, 25, 4, 72, 128), []
    for _ in range(20):
        started = time.perf_counter()
        data = preview_jpeg(tiny, latents)
        seconds.append(time.perf_counter() - started)
    assert data is not None
    assert max(Image.open(io.BytesIO(data)).size) <= MAX_SIDE
    assert min(seconds) < 0.003
