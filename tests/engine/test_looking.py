"""A checkpoint whose autoencoder looks at the still gets it, on every way to a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.errors import BadInput
from svd_ui.events import Event, Finished, SteppedDown
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from tests.tiny import save_tiny_warp

CALM, FRAMES = 1, 11


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 latents of 128x64 at 7 fps, which is 11 frames at 24."""
    return save_tiny_warp(tmp_path_factory.mktemp("models") / "warp")


@pytest.fixture
def here(settings: Settings, warp: Path) -> Settings:
    return settings.model_copy(update={"checkpoint_dirs": str(warp)})


@pytest.fixture
def noisy(settings: Settings) -> str:
    """A picture with more detail than the components hold."""
    return Assets.of(settings).keep(Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 140, 3), np.uint8)))


class Watched(Stages):
    """Keeps the frames of every clip; memory runs out once, after ``fail_after`` frames of the first."""

    def __init__(self, settings: Settings, fail_after: int | None = None) -> None:
        super().__init__(settings, "cpu")
        self.clips: list[list[np.ndarray]] = []
        self.fail_after = fail_after

    def decode(self, decoder: Any, latents: Any, chunk: int, cancel: Any, start: int) -> Iterator[Any]:
        if start == 0:
            self.clips.append([])
        for frames in super().decode(decoder, latents, chunk, cancel, start):
            self.clips[-1].extend(frames)
            yield frames
            if self.fail_after is not None and len(self.clips[-1]) >= self.fail_after:
                self.fail_after = None
                raise torch.OutOfMemoryError("CUDA out of memory")


def made(stages: Stages, settings: Settings, out: Path, image: str, **values: Any) -> list[Event]:
    request = GenerationRequest(
        image=image,
        checkpoint="local:warp",
        seed=7,
        num_inference_steps=2,
        motion_bucket_id=CALM,
        noise_aug_strength=0,
        **values,
    )
    events = list(LocalEngine(settings, stages=stages).generate(request, out, never()))
    assert isinstance(events[-1], Finished)
    return events


def shows(clip: list[np.ndarray], still: Image.Image) -> None:
    """All of it the still, from which so calm a camera goes no further than a fiftieth of a pixel."""
    assert len(clip) == FRAMES
    off = [np.abs(frame.astype(int) - np.asarray(still)).max() for frame in clip]
    assert off[0] == 0
    assert max(off) <= 6


@pytest.mark.parametrize("size", [(128, 64), (64, 96)])
def test_a_clip_is_made_of_its_still(here: Settings, noisy: str, tmp_path: Path, size: tuple[int, int]) -> None:
    stages = Watched(here)
    made(stages, here, tmp_path, noisy, width=size[0], height=size[1], focus_x=0.2)
    (clip,) = stages.clips
    shows(clip, fit(Assets.of(here).open(noisy), *size, 0.2, 0.5))


def test_after_running_out_of_memory_the_rest_is_too(here: Settings, noisy: str, tmp_path: Path) -> None:
    stages = Watched(here, fail_after=2)
    events = made(stages, here, tmp_path, noisy, decode_chunk_size=2)
    assert [event.stage for event in events if isinstance(event, SteppedDown)] == ["decoding"]
    (clip,) = stages.clips
    shows(clip, fit(Assets.of(here).open(noisy), 128, 64))


def test_so_is_every_tile_of_a_wall(here: Settings, noisy: str, tmp_path: Path) -> None:
    stages = Watched(here)
    made(stages, here, tmp_path, noisy, wall=Wall(seeds=2, motion_bucket_ids=(CALM, 2)))
    assert len(stages.clips) == 4
    for clip in stages.clips:
        shows(clip, fit(Assets.of(here).open(noisy), 128, 64))


def test_sizes_between_its_cells_are_refused_by_name(here: Settings, noisy: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="multiples of 16") as caught:
        made(Watched(here), here, tmp_path, noisy, width=120)
    assert caught.value.field == "width"
