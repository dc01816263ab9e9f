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
from svd_ui.core.decode import PREVIEW_FRAMES, PREVIEW_SIDES, _on_device, preview, preview_frames
from svd_ui.core.families.scene import grid
from svd_ui.core.families.svd import colours_on_device
from svd_ui.core.families.warp_autoencoder import MOTION_GAIN, SCENE_CHANNELS


def row(**values: object) -> CheckpointRow:
    defaults = {"id": "x", "title": "x", "num_frames": 4, "width": 64, "height": 64}
    return CheckpointRow.model_validate({**defaults, **values})


def shown(row: CheckpointRow, latents: torch.Tensor) -> list[np.ndarray]:
    """The frames of the preview, taken apart as the page does."""
    made = preview(row, latents)
    assert made is not None
    picture = Image.open(io.BytesIO(made.jpeg))
    assert picture.format == "JPEG"
    return np.split(np.asarray(picture), made.frames)


def test_the_matrix_gives_the_colours_of_every_frame() -> None:
    coloured = row(preview=((0.5, 0, 0), (0, 0.5, 0)), preview_bias=(0.5, 0.5, 0.0))
    latents = torch.zeros(1, 3, 2, 9, 16)
    latents[0, 1, 0], latents[0, 1, 1] = 1, -1
    latents[0, 2, 0], latents[0, 2, 1] = -1, 1
    frames = shown(coloured, latents)
    assert [frame.shape for frame in frames] == [(36, 64, 3)] * 3
    for frame, colour in zip(frames, [(127, 127, 0), (255, 0, 0), (0, 255, 0)], strict=True):
        assert frame[18, 32].tolist() == pytest.approx(colour, abs=9)
    middle = preview_frames(coloured, latents, most=1)
    assert middle is not None
    assert middle[:, 18, 32].tolist() == [[255, 0, 0]]


def test_colours_are_the_same_beside_the_device_and_on_it() -> None:
    coloured = row(preview=((0.5, 0, 0.1), (0, 0.5, 0)), preview_bias=(0.5, 0.4, 0.0))
    latents = torch.randn(1, 3, 2, 36, 64, generator=torch.Generator().manual_seed(1))
    latents[0, 0, 0, 0, :3] = torch.tensor([float("nan"), 1e9, -1e9])
    beside = preview_frames(coloured, latents, most=3)
    assert beside is not None
    assert np.array_equal(_on_device(colours_on_device(coloured, latents[0])).numpy(), beside)


@pytest.mark.parametrize(("total", "sent"), [(2, 2), (14, 14), (25, 13), (64, 13)])
def test_of_a_long_clip_every_so_many_frames_are_sent(total: int, sent: int) -> None:
    grey = row(preview=((1, 1, 1),), preview_bias=(0.0, 0.0, 0.0))
    latents = torch.linspace(0, 1, total)[None, :, None, None, None].expand(1, total, 1, 72, 128)
    frames = shown(grey, latents)
    assert len(frames) == sent <= PREVIEW_FRAMES
    levels = [int(frame.mean()) for frame in frames]
    steps = np.diff(levels)
    assert levels[0] <= 3
    assert steps.min() > 0
    assert steps.max() - steps.min() <= 2


@pytest.mark.parametrize(
    ("cells", "frame"), [((18, 32), (36, 64)), ((72, 128), (72, 128)), ((128, 72), (128, 72)), ((72, 256), (36, 128))]
)
def test_frames_are_small_whatever_the_clip_measures(cells: tuple[int, int], frame: tuple[int, int]) -> None:
    made = preview_frames(row(preview=((1, 1, 1),)), torch.zeros(1, 3, 1, *cells), most=3)
    assert made is not None
    assert made.shape == (3, *frame, 3)
    assert PREVIEW_SIDES[0] <= max(frame) <= PREVIEW_SIDES[1]


CELLS = (9, 16)


def warped() -> CheckpointRow:
    colours, black = ((1, 0, 0), *[(0, 0, 0)] * SCENE_CHANNELS), (0.0, 0.0, 0.0)
    return row(preview=colours, preview_bias=black, family="warp", motion_paths=((255, 0.1),), moves={"x": [[1] * 6]})


def moving(across: float = 0.0, down: float = 0.0) -> torch.Tensor:
    """One channel that rises from 0 at the left to 1 at the right; the last of five frames looks so many cells away."""
    latents = torch.zeros(1, 5, 1 + SCENE_CHANNELS, *CELLS)
    latents[0, :, 0] = torch.linspace(0, 1, 16)
    latents[0, :, -2:] = grid(*CELLS, latents)
    steps = torch.tensor([across, down]) / 8 / 4 * MOTION_GAIN  # a cell is an eighth of half the longer side
    latents[0, 1:, 1:3] = steps[:, None, None]
    return latents


def red(row: CheckpointRow, latents: torch.Tensor) -> list[int]:
    """Along the middle of the last frame, once in every cell."""
    return [int(shown(row, latents)[4][18, 2 + 4 * cell, 0]) for cell in range(16)]


def test_a_cell_has_the_colour_of_where_it_looks() -> None:
    still = red(warped(), moving())
    assert still == pytest.approx([17 * cell for cell in range(16)], abs=4)
    assert red(warped(), moving(down=3)) == pytest.approx(still, abs=4)
    assert red(warped(), moving(across=1)) == pytest.approx([*still[1:], still[-1]], abs=4)  # the last one repeats
    between = [(a + b) / 2 for a, b in itertools.pairwise(still)]
    assert red(warped(), moving(across=-0.5)) == pytest.approx([still[0], *between], abs=4)
    plain = row(preview=((1, 0, 0), *[(0, 0, 0)] * SCENE_CHANNELS), preview_bias=(0.0, 0.0, 0.0))
    assert red(plain, moving(across=1)) == pytest.approx(still, abs=4)


def test_wild_latents_still_give_a_picture(tiny_folder: Path) -> None:
    for wild, channels in ((folder_row(tiny_folder), 4), (warped(), 1 + SCENE_CHANNELS)):
        latents = torch.full((1, 4, channels, 8, 12), float("nan"))
        latents[..., ::2] = 1e9
        assert [frame.shape for frame in shown(wild, latents)] == [(43, 64, 3)] * 4


def test_without_a_matrix_there_is_none() -> None:
    assert preview(row(), torch.zeros(1, 4, 16, 8, 8)) is None


def test_every_frame_of_a_moving_still_moves_on() -> None:
    """What each frame looks at is added up from the first one on."""
    at = [int(frame[18, 34, 0]) for frame in shown(warped(), moving(across=4))]
    assert np.diff(at) == pytest.approx([17] * 4, abs=4)


@pytest.mark.slow  # it times: on a machine that does other work too it tells nothing
@pytest.mark.parametrize(("moves", "size", "most"), [(True, (18, 32), 0.004), (False, (72, 128), 0.006)])
def test_it_costs_little_of_a_step(tiny_folder: Path, moves: bool, size: tuple[int, int], most: float) -> None:
    """3 % of nano's step of 130 ms; and of SVD's, of which the fastest card takes hundreds, 1 %."""
    tiny, channels = (warped(), 1 + SCENE_CHANNELS) if moves else (folder_row(tiny_folder), 4)
    latents, seconds = torch.zeros(1, 25, channels, *size), []
    for _ in range(20):
        started = time.perf_counter()
        made = preview(tiny, latents)
        seconds.append(time.perf_counter() - started)
    assert made is not None
    assert len(made.jpeg) < 60_000
    assert min(seconds) < most
