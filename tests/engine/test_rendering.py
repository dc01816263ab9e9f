"""Whole clips of a checkpoint that renders: what is written, told and counted is the frames, not the latents."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from svd_ui import settings_tag
from svd_ui.assets import Assets
from svd_ui.clip import ClipShape
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.errors import BadInput
from svd_ui.events import Decoding, Event, Finished, PostProcessing, Result, SteppedDown
from svd_ui.media.image import fit
from svd_ui.media.video import read_comment, read_frames
from svd_ui.post.boomerang import Boomerang
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from tests.tiny import save_tiny_svd, save_tiny_warp

from .conftest import photo

pytestmark = pytest.mark.usefixtures("read_once")

PICTURE = photo(1600, 900)
CLIP: dict[str, Any] = {"width": 128, "height": 64, "num_frames": 4, "fps": 5, "seed": 1}
"""0.6 seconds: 15 frames at 24 a second."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    models = tmp_path_factory.mktemp("models")
    save_tiny_warp(models / "warp")
    save_tiny_svd(models / "svd")
    return Settings(_env_file=None, data_dir=models / "data", devices="cpu", checkpoint_dirs=str(models))


Make = Callable[..., tuple[list[Event], Path]]


@pytest.fixture
def make(here: Settings, tmp_path: Path) -> Make:
    def made(checkpoint: str = "warp", stages: Stages | None = None, **values: Any) -> tuple[list[Event], Path]:
        image = Assets.of(here).keep(PICTURE)
        request = GenerationRequest(image=image, checkpoint=f"local:{checkpoint}", **CLIP | values)
        engine = LocalEngine(here, stages=stages)
        return list(engine.generate(request, tmp_path / "out", never())), tmp_path / "out"

    return made


def result_of(events: list[Event]) -> Result:
    assert isinstance(events[-1], Finished)
    return events[-1].result


def test_the_file_plays_24_frames_a_second_and_every_number_is_that_of_its_frames(make: Make) -> None:
    events, out = make()
    result = result_of(events)
    assert result.shape == ClipShape(num_frames=15, width=128, height=64, fps=24)
    frames = read_frames(out / str(result.video))
    assert frames.shape == (15, 64, 128, 3)
    with av.open(str(out / str(result.video))) as container:
        assert container.streams.video[0].average_rate == Fraction(24)
    counted = [(event.done, event.total) for event in events if isinstance(event, Decoding)]
    assert (counted[0], counted[-1]) == ((0, 15), (15, 15))
    assert load_file(out / str(result.latents))["latents"].shape[1] == 4


def test_a_larger_file_keeps_its_settings_and_its_picture(make: Make, here: Settings) -> None:
    events, out = make(render_height=400, output_fps=12)
    result = result_of(events)
    assert result.shape == ClipShape(num_frames=8, width=800, height=400, fps=12)
    first = read_frames(out / str(result.video))[0]
    assert np.abs(first.astype(int) - np.asarray(fit(PICTURE, 800, 400))).mean() < 3
    assert Assets.of(here).open(str(result.last_frame)).size == (800, 400)
    request = settings_tag.parse(read_comment(out / str(result.video)) or "").request
    assert (request.render_height, request.output_fps) == (400, 12)
    assert not result.notes


def test_where_the_picture_has_fewer_lines_that_is_said(make: Make) -> None:
    result = result_of(make(render_height=1080)[0])
    assert result.shape is not None and result.shape.height == 800  # of the crop to 2:1
    assert [note.code for note in result.notes] == ["render_height_limited"]
    assert result.notes[0].params == {"asked": 1080, "height": 800}
    assert result.request.render_height == 1080


def test_post_steps_get_the_frames_and_the_still_at_their_size(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def apply(step: Boomerang, frames: Iterator[Any], context: Any) -> Iterator[Any]:
        seen.append((context.shape, context.still.size))
        return frames

    monkeypatch.setattr(Boomerang, "apply", apply)
    events, _ = make(render_height=128, post=[{"kind": "boomerang"}])
    assert seen == [(ClipShape(15, 256, 128, 24), (256, 128))]
    assert [event.total for event in events if isinstance(event, PostProcessing)][-1:] in ([], [28])


def test_a_walls_tiles_play_as_smoothly(make: Make) -> None:
    events, out = make(wall=Wall(seeds=2, motion_bucket_ids=(40, 200)), width=512, height=256)
    result = result_of(events)
    assert len(result.tiles) == 4
    for tile in result.tiles:
        assert read_frames(out / tile.video).shape == (15, 128, 256, 3)
    last = [event for event in events if isinstance(event, Decoding)][-1]
    assert (last.done, last.total) == (60, 60)


class Full(Stages):
    """Memory runs out in the middle of decoding, once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "cpu")
        self.starts: list[int] = []

    def decode(self, decoder: Any, latents: Any, chunk: int, cancel: Any, start: int) -> Iterator[Any]:
        self.starts.append(start)
        for frames in super().decode(decoder, latents, chunk, cancel, start):
            yield frames
            if start == 0:
                raise torch.OutOfMemoryError("CUDA out of memory")


def test_after_running_out_of_memory_it_goes_on_from_the_first_frame_that_is_missing(
    make: Make, here: Settings
) -> None:
    stages = Full(here)
    events, out = make(stages=stages, decode_chunk_size=6)
    assert stages.starts == [0, 6]
    assert [event.stage for event in events if isinstance(event, SteppedDown)] == ["decoding"]
    assert result_of(events).effective.decode_chunk_size == 4  # type: ignore[union-attr]
    assert len(read_frames(out / "clip.mp4")) == 15


def test_other_checkpoints_refuse_another_size_and_play_their_frames_faster(make: Make) -> None:
    with pytest.raises(BadInput, match="leave Output height blank"):
        make("svd", render_height=720)
    result = result_of(make("svd", width=64, height=64, output_fps=30)[0])
    assert result.shape == ClipShape(num_frames=4, width=64, height=64, fps=30)


def test_a_still_of_the_clips_size_comes_first_as_it_is(make: Make, here: Settings) -> None:
    events, out = make(output_format="png")
    with zipfile.ZipFile(out / str(result_of(events).frames)) as archive, archive.open("frame_0000.png") as file:
        first = np.asarray(Image.open(file)).astype(int)
    error = np.square(first - np.asarray(fit(PICTURE, 128, 64))).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 46
