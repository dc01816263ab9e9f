"""A clip has no blanks, and knows how many tiles it is and where it is guided."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from svd_ui.catalog import PROFILES, STABILITY_ROWS, nano_row
from svd_ui.clip import MAY_BE_OPEN, ClipShape, ClipSpec
from svd_ui.errors import BadInput
from svd_ui.request import GenerationRequest, Wall

SVD, NANO = STABILITY_ROWS[0], nano_row()
RENDERING = NANO.model_copy(update={"motion_paths": ((127, 0.05), (255, 0.12)), "path_seconds": 2.6, "fps": 5})


def rendering(**values: Any) -> ClipSpec:
    return ClipSpec.of(GenerationRequest(**values), RENDERING)


def test_a_clip_leaves_nothing_open_and_its_request_is_the_one_to_store() -> None:
    clip = ClipSpec.of(GenerationRequest(fps=9, width=512), SVD)
    assert not [
        field.name for field in fields(clip) if getattr(clip, field.name) is None and field.name not in MAY_BE_OPEN
    ]
    assert (clip.width, clip.height, clip.output_fps) == (512, SVD.height, 9)
    assert (clip.request.checkpoint, clip.request.width, clip.request.seed) == ("svd", 512, clip.seed)
    assert ClipSpec.of(clip.request, SVD) == clip
    assert clip.shape == ClipShape(num_frames=14, width=512, height=576, fps=9)


def test_a_checkpoint_that_leaves_a_blank_is_named() -> None:
    class Forgetful(type(SVD)):  # type: ignore[misc]
        def defaults(self, speed: str = "exact") -> dict[str, object]:
            return {}

    with pytest.raises(ValueError, match="svd says nothing of width"):
        ClipSpec.of(GenerationRequest(), Forgetful(**SVD.model_dump()))


def test_a_wall_is_many_pairs_and_each_tile_one() -> None:
    wall = ClipSpec.of(GenerationRequest(seed=5, wall=Wall(seeds=2, motion_bucket_ids=(30, 90, 220))), SVD)
    assert (wall.tiles, wall.columns, wall.pairs[:4]) == (6, 3, ((5, 30), (5, 90), (5, 220), (6, 30)))
    tile = wall.tile(6, 90)
    assert (tile.tiles, tile.pairs, tile.request.wall) == (1, ((6, 90),), None)


def test_guidance_ends_scale_with_the_checkpoints_noise() -> None:
    request = GenerationRequest(max_guidance_scale=2.0, guidance_sigma_max=70.0)
    assert ClipSpec.of(request, SVD).guidance_interval == (-math.inf, 70.0)
    low, high = ClipSpec.of(request, NANO).guidance_interval
    assert (low, high) == (-math.inf, pytest.approx(70.0 * 80 / 700))
    assert not ClipSpec.of(GenerationRequest(), NANO).guided


# Frames that are rendered


def test_what_renders_is_written_at_24_frames_a_second_however_slow_its_key_frames_are() -> None:
    clip = rendering()
    assert clip.shape == ClipShape(num_frames=63, width=512, height=288, fps=24)
    assert (clip.frame_times[0], clip.frame_times[24]) == (0.0, 5.0)
    assert clip.frame_times[-1] <= 13 < clip.frame_times[-1] + 5 / 24
    assert ClipSpec.of(clip.request, RENDERING) == clip


@pytest.mark.parametrize("output_fps", [5, 12, 25, 60])
def test_its_length_is_that_of_its_key_frames_whatever_the_rate(output_fps: int) -> None:
    shape = rendering(output_fps=output_fps).shape
    assert (shape.num_frames - 1) / shape.fps == pytest.approx(13 / 5, abs=1 / output_fps)


def test_else_the_rate_is_how_fast_the_frames_are_played() -> None:
    clip = ClipSpec.of(GenerationRequest(output_fps=30), SVD)
    assert (clip.shape.num_frames, clip.shape.fps) == (14, 30)
    assert clip.frame_times == tuple(range(14))


@pytest.mark.parametrize(
    ("width", "height", "lines", "size"), [(512, 288, 1080, (1920, 1080)), (416, 352, 1000, (1182, 1000))]
)
def test_frames_keep_the_clips_shape_at_any_height_with_even_sides(
    width: int, height: int, lines: int, size: tuple[int, int]
) -> None:
    assert rendering(width=width, height=height, render_height=lines).frame_size == size


@pytest.mark.parametrize(
    ("asked", "picture", "lines"),
    [
        ({"render_height": 1080}, (4000, 3000), 1080),
        ({"render_height": 1080}, (1280, 960), 720),  # of the crop to 16:9
        ({"render_height": 1440}, (4000, 3000), 1080),
        ({"render_height": 1920, "width": 288, "height": 512}, (3000, 4000), 1920),  # upright, 1080 wide
        ({"render_height": 720}, (300, 200), 288),  # the clip's own
        ({"render_height": 144}, (300, 200), 144),
        ({}, (4000, 3000), None),
    ],
)
def test_no_more_lines_than_the_picture_has_and_1080p(
    asked: dict[str, int], picture: tuple[int, int], lines: int | None
) -> None:
    assert rendering(**asked).of_picture(picture).render_height == lines


def test_a_walls_frames_are_as_small_as_its_tiles_and_others_stay() -> None:
    wall = Wall(seeds=1, motion_bucket_ids=(40, 80))
    assert rendering(wall=wall, render_height=1080).frame_size == (256, 144)
    assert ClipSpec.of(GenerationRequest(wall=wall), SVD).frame_size == (SVD.width, SVD.height)


def test_a_checkpoint_that_does_not_render_says_what_to_do_instead() -> None:
    with pytest.raises(BadInput, match="leave Output height blank, and set Width and Height") as caught:
        SVD.check(ClipSpec.of(GenerationRequest(render_height=720), SVD))
    assert caught.value.field == "render_height"


def test_a_clip_of_one_frame_is_refused() -> None:
    with pytest.raises(BadInput, match="raise Playback FPS") as caught:
        RENDERING.check(rendering(num_frames=4, fps=30, output_fps=1))
    assert caught.value.field == "output_fps"


def test_of_large_frames_one_is_made_at_a_time_unless_somebody_says_how_many() -> None:
    cpu = PROFILES["cpu"]
    assert rendering().frames_at_once(cpu) == 14
    assert rendering(render_height=1080).frames_at_once(cpu) == 1
    assert rendering(render_height=1080, decode_chunk_size=3).frames_at_once(cpu) == 3
    assert ClipSpec.of(GenerationRequest(), SVD).frames_at_once(cpu) == cpu.decode_chunk_size
