"""Where cells look in the first frame: known motions of photographs come back, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from svd_ui.core.optical_flow import displacements, upsample

PHOTOS = Path(__file__).resolve().parents[2] / "benchmarks/data"
WIDTH, HEIGHT = 256, 144
MARGIN = 48


def photo(name: str, width: int, height: int) -> Tensor:
    """[1 3 H W] in [-1, 1]"""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        pixels = np.array(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def moved(name: str, fields: Tensor) -> Tensor:
    """A clip [F 3 H W] of a photograph whose pixels look at their place plus ``fields`` [F 2 H W], beyond its edges too."""
    height, width = fields.shape[-2:]
    whole = width + 2 * MARGIN, height + 2 * MARGIN
    picture = photo(name, 2 * whole[0], 2 * whole[1])
    x, y = (fields + places(width, height)).unbind(dim=1)
    grid = torch.stack([2 * (x + MARGIN) / whole[0] - 1, 2 * (y + MARGIN) / whole[1] - 1], dim=-1)
    grid = functional.interpolate(grid.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
    clip = functional.grid_sample(picture.expand(len(grid), -1, -1, -1), grid, mode="bicubic", align_corners=False)
    return functional.avg_pool2d(clip, 2).clamp(-1, 1)


def places(width: int, height: int) -> Tensor:
    """[2 H W]"""
    x = (torch.arange(width) + 0.5).expand(height, width)
    return torch.stack([x, (torch.arange(height) + 0.5)[:, None].expand(height, width)])


def pan(x: float, y: float, frames: int, width: int = WIDTH, height: int = HEIGHT) -> Tensor:
    """Content that moves by (x, y) pixels a frame: [F 2 H W]"""
    steps = -torch.arange(frames)[:, None] * torch.tensor([x, y])
    return steps[:, :, None, None].expand(-1, -1, height, width)


def zoom(last: float, frames: int) -> Tensor:
    """Towards the middle, ``last`` times as large in the end."""
    factors = last ** (-torch.arange(frames) / (frames - 1))
    arm = places(WIDTH, HEIGHT) - torch.tensor([WIDTH / 2, HEIGHT / 2])[:, None, None]
    return (factors[:, None, None, None] - 1) * arm


def errors(fields: Tensor, found: Tensor, patch_size: int = 16) -> Tensor:
    """In pixels, of the cells that see something of the still, in all frames."""
    wanted = functional.avg_pool2d(fields, patch_size)
    height, width = fields.shape[-2:]
    seen = wanted + functional.avg_pool2d(places(width, height), patch_size)
    inside = (seen > 0).all(dim=1) & (seen[:, 0] < width) & (seen[:, 1] < height)
    return (found - wanted).square().sum(dim=1).sqrt()[inside]


@pytest.mark.parametrize("name", ["brushes", "chelsea", "pagoda"])
@pytest.mark.parametrize(
    "fields",
    [pan(3, 0, 14), pan(-1.3, 0.8, 8), zoom(1.25, 8), zoom(0.85, 8)],
    ids=["pan", "aslant", "in", "out"],
)
def test_camera_motion_is_found_to_a_third_of_a_pixel(name: str, fields: Tensor) -> None:
    found = displacements(moved(name, fields), 16)
    assert found.shape == (len(fields), 2, HEIGHT // 16, WIDTH // 16)
    off = errors(fields, found)
    assert off.mean() < 0.15
    assert off.quantile(0.9) < 0.3


def test_a_picture_that_moves_right_is_looked_up_on_the_left() -> None:
    photograph = photo("chelsea", WIDTH, HEIGHT)
    found = displacements(torch.cat([photograph, photograph.roll(4, dims=-1), photograph.roll(3, dims=-2)]), 16)
    right, down = found[1, :, 1:-1, 1:-1], found[2, :, 1:-1, 1:-1]
    assert right.median(dim=-1).values.median(dim=-1).values.tolist() == pytest.approx([-4, 0], abs=0.1)
    assert down.median(dim=-1).values.median(dim=-1).values.tolist() == pytest.approx([0, -3], abs=0.1)


def test_a_negative_moves_like_its_positive() -> None:
    clip = moved("chelsea", pan(2, 1, 4))
    torch.testing.assert_close(displacements(-clip, 16), displacements(clip, 16), atol=0.02, rtol=0)


def test_a_thing_moves_before_what_stands_still() -> None:
    fields = pan(2, 0, 7)
    clip = moved("chelsea", fields)
    x, y = places(WIDTH, HEIGHT)
    inside = torch.stack([(x - 100 - 2 * t).square() + (y - 72).square() < 56**2 for t in range(7)]).float()
    clip = inside[:, None] * clip + (1 - inside[:, None]) * clip[:1]
    found, share = displacements(clip, 16), functional.avg_pool2d(inside, 16)
    assert found[-1, 0][share[-1] == 1].median() == pytest.approx(-12, abs=0.5)
    assert found[-1][:, share[-1] == 0].abs().mean() < 0.3


def test_without_motion_nothing_moves() -> None:
    assert displacements(photo("coffee", 128, 96).expand(5, -1, -1, -1), 16).abs().max() < 0.01


def test_a_flat_picture_has_no_motion() -> None:
    assert torch.equal(displacements(torch.full((4, 3, 64, 96), 0.4), 16), torch.zeros(4, 2, 4, 6))


def test_flat_parts_follow_their_neighbours() -> None:
    photograph = photo("chelsea", WIDTH, HEIGHT)
    photograph[..., 40:104, 72:168] = 0.0
    found = displacements(torch.cat([photograph, photograph.roll(3, dims=-1)]), 16)
    assert found[1, 0, 3:6, 6:9].mean() == pytest.approx(-3, abs=0.3)


def test_noise_and_cuts_stay_where_they_are() -> None:
    noise = torch.rand(5, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert displacements(noise, 16).abs().max() < 1
    first, second = (photo(name, WIDTH, HEIGHT) for name in ("chelsea", "coffee"))
    assert displacements(torch.cat([first, first, second, second]), 16).abs().max() < 1


def test_grain_does_not_shake_the_picture() -> None:
    fields = pan(2, 0, 8)
    grain = 0.05 * torch.randn(8, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    assert errors(fields, displacements(moved("chelsea", fields) + grain, 16)).mean() < 0.3


@pytest.mark.parametrize("patch_size", [8, 16])
def test_small_frames(patch_size: int) -> None:
    fields = pan(1.5, -0.5, 6, 64, 64)
    found = displacements(moved("chelsea", fields), patch_size)
    assert torch.equal(found[0], torch.zeros_like(found[0]))
    assert errors(fields, found, patch_size).mean() < 0.3


def test_one_frame_is_the_still() -> None:
    assert torch.equal(displacements(photo("wine", 64, 48), 16), torch.zeros(1, 2, 3, 4))


def test_fields_grow_evenly_and_go_on_beyond_the_outermost_centres() -> None:
    coarse = functional.avg_pool2d(places(64, 48), 16)[None]
    torch.testing.assert_close(upsample(coarse, 16)[0], places(64, 48), atol=1e-4, rtol=0)
