"""A clip has no blanks, and knows how many tiles it is and where it is guided."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from svd_ui.catalog import STABILITY_ROWS, nano_row
from svd_ui.clip import MAY_BE_OPEN, ClipShape, ClipSpec
from svd_ui.request import GenerationRequest, Wall

SVD, NANO = STABILITY_ROWS[0], nano_row()


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
    assert (low, high) == (-math.inf, pytest.approx(70.0 * 90 / 700))
    assert not ClipSpec.of(GenerationRequest(), NANO).guided
