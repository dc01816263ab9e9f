"""A draft wall from request to playable tiles, on a real pipeline made tiny."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import PROFILES, checkpoints
from svd_ui.clip import ClipSpec
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.engine.wall import MOST, max_tiles_per_call
from svd_ui.errors import Cancelled, DiskFull, OutOfMemory
from svd_ui.events import Decoding, Denoising, Event, Finished, Result, SteppedDown, StillMade
from svd_ui.media.sheet import SHEET_SIDE, Sheet, small
from svd_ui.media.video import read_frames
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from svd_ui.settings_tag import open_settings

WALL = Wall(seeds=2, motion_bucket_ids=(30, 220))


@pytest.fixture
def here(settings: Settings, tiny: Path) -> Settings:
    return settings.model_copy(update={"checkpoint_dirs": str(tiny)})


def ask(image: str | None, **values: Any) -> GenerationRequest:
    fixed = {"checkpoint": "local:tiny", "seed": 7, "wall": WALL, "speed": "draft"}
    return GenerationRequest(image=image, **{**fixed, **values})


def result_of(events: list[Event]) -> Result:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


def codes(result: Result) -> set[str]:
    return {note.code for note in result.notes}


class Watched(Stages):
    """Keeps the latents that are decoded."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "cpu")
        self.decoded: list[torch.Tensor] = []

    def decode(self, decoder: Any, latents: Any, *rest: Any) -> Iterator[Any]:
        self.decoded.append(latents.clone())
        return super().decode(decoder, latents, *rest)


class Tight(Watched):
    """A device with room for ``most`` tiles at once, whatever was predicted, and none under ``profiles``."""

    def __init__(self, settings: Settings, most: int, profiles: str = "") -> None:
        super().__init__(settings)
        self.most, self.profiles = most, profiles
        self.sizes: list[int] = []

    def sample_batch(self, decoder: Any, batch: Any, clip: Any, cancel: Any) -> Iterator[Any]:
        for later in super().sample_batch(decoder, batch, clip, cancel):
            if len(batch) > self.most and later.steps_done >= 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            if decoder.runtime.profile.id in self.profiles and later.steps_done >= 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            self.sizes.append(len(batch))
            yield later


@pytest.fixture
def four_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a card with enough memory would be predicted to hold."""
    monkeypatch.setattr("svd_ui.engine.wall.max_tiles_per_call", lambda *_: 4)


def test_a_wall_becomes_small_tiles_and_a_sheet(here: Settings, image: str, tmp_path: Path) -> None:
    events = list(LocalEngine(here, "cpu").generate(ask(image, num_inference_steps=2), tmp_path, never()))
    result = result_of(events)
    assert [(tile.seed, tile.motion_bucket_id) for tile in result.tiles] == [(7, 30), (7, 220), (8, 30), (8, 220)]
    assert [tile.video for tile in result.tiles] == [f"tile-{index:02}.mp4" for index in range(4)]
    clips = [read_frames(tmp_path / tile.video) for tile in result.tiles]
    assert {clip.shape for clip in clips} == {(4, 64, 64, 3)}
    assert len({clip.tobytes() for clip in clips}) == 4
    assert (result.video, result.latents, result.poster) == (None, None, "poster.jpg")
    with Image.open(tmp_path / "poster.jpg") as sheet:
        assert sheet.width > 2 * 64
        assert sheet.height > 2 * 64
    assert "wall_drafts" in codes(result)
    assert result.effective is not None
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "poster.jpg",
        *(tile.video for tile in result.tiles),
    ]


def test_steps_and_frames_are_counted_over_the_whole_wall(here: Settings, image: str, tmp_path: Path) -> None:
    events = list(LocalEngine(here, "cpu").generate(ask(image, num_inference_steps=2), tmp_path, never()))
    steps = [event for event in events if isinstance(event, Denoising)]
    assert [(event.step, event.total) for event in steps] == [(n, 8) for n in range(1, 9)]
    frames = [event.done for event in events if isinstance(event, Decoding)]
    assert (frames == sorted(frames), frames[0], frames[-1]) == (True, 0, 16)
    assert {event.total for event in events if isinstance(event, Decoding)} == {16}


def test_a_tile_shows_what_its_request_alone_shows(here: Settings, image: str, tmp_path: Path) -> None:
    stages = Watched(here)
    engine = LocalEngine(here, stages=stages)
    wall = result_of(list(engine.generate(ask(image, num_inference_steps=2), tmp_path, never())))
    tile = wall.tiles[3]
    alone = ask(image, num_inference_steps=2, wall=None, seed=tile.seed, motion_bucket_id=tile.motion_bucket_id)
    clip = result_of(list(engine.generate(alone, tmp_path / "alone", never())))
    assert torch.equal(stages.decoded[3], stages.decoded[-1])
    assert not torch.equal(stages.decoded[2], stages.decoded[-1])
    # The tile's file tells what was asked, not what the draft made of it: at another speed that is the full clip.
    inside = open_settings(tmp_path / tile.video).request
    assert inside == alone
    assert inside != clip.request


def test_tiles_that_share_a_call_are_counted_once(
    here: Settings, image: str, tmp_path: Path, four_at_once: None
) -> None:
    events = list(LocalEngine(here, "cpu").generate(ask(image, num_inference_steps=2), tmp_path, never()))
    assert [(event.step, event.total) for event in events if isinstance(event, Denoising)] == [(1, 2), (2, 2)]
    assert len(result_of(events).tiles) == 4


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("most", "sizes"), [(2, [4, 2, 2, 2, 2]), (1, [4, 1, 1, 1, 1, 1, 1, 1, 1])])
def test_out_of_memory_halves_how_many_go_together_and_keeps_what_is_done(
    here: Settings, image: str, tmp_path: Path, four_at_once: None, most: int, sizes: list[int]
) -> None:
    asked = ask(image, num_inference_steps=3, speed="exact")  # features kept for the next step end with the call
    calm, stages = Watched(here), Tight(here, most)
    list(LocalEngine(here, stages=calm).generate(asked, tmp_path / "calm", never()))
    events = list(LocalEngine(here, stages=stages).generate(asked, tmp_path, never()))
    result = result_of(events)
    # The step done by all four is not done again: each smaller batch makes two more.
    assert stages.sizes == sizes
    notes = [event.note for event in events if isinstance(event, SteppedDown)]
    assert notes == [note for note in result.notes if note.code in {"fewer_tiles", "smaller_profile"}]
    assert len(notes) == (1 if most == 2 else 2)
    last = [event for event in events if isinstance(event, Denoising)][-1]
    assert last.step == last.total
    torch.testing.assert_close(stages.decoded, calm.decoded, atol=1e-4, rtol=1e-4)


def test_one_at_a_time_steps_down_the_ladder(here: Settings, image: str, tmp_path: Path) -> None:
    stages = Tight(here, 1, profiles="24gb")
    asked = ask(image, num_inference_steps=3, profile="24gb")
    result = result_of(list(LocalEngine(here, stages=stages).generate(asked, tmp_path, never())))
    assert result.effective is not None
    assert result.effective.profile == "16gb"
    assert len(stages.sizes) == 12  # none of the four was begun anew


def test_no_way_left_is_out_of_memory_and_leaves_no_file(here: Settings, image: str, tmp_path: Path) -> None:
    stages = Tight(here, 0)
    with pytest.raises(OutOfMemory):
        list(LocalEngine(here, stages=stages).generate(ask(image), tmp_path, never()))
    assert not list(tmp_path.glob("*.mp4"))


def test_cancelling_stops_within_a_step_and_removes_the_tiles_made(here: Settings, image: str, tmp_path: Path) -> None:
    def drain(moment: type[Denoising] | type[Decoding], cancel: threading.Event) -> None:
        seen = 0
        for event in LocalEngine(here, "cpu").generate(ask(image, num_inference_steps=2), tmp_path, cancel):
            assert not cancel.is_set(), "something was done after the cancel"
            seen += isinstance(event, moment)
            if seen == 7:
                assert moment is Denoising or list(tmp_path.glob("tile-*.mp4"))
                cancel.set()

    for moment in (Denoising, Decoding):
        with pytest.raises(Cancelled):
            drain(moment, threading.Event())
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_full_disk_leaves_no_tile(
    here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Sheet, path: Path) -> None:
        raise DiskFull()

    monkeypatch.setattr(Sheet, "write", full)
    with pytest.raises(DiskFull):
        list(LocalEngine(here, "cpu").generate(ask(image, num_inference_steps=1), tmp_path, never()))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_other_formats_are_kept_for_the_clip_in_full(here: Settings, image: str, tmp_path: Path) -> None:
    asked = ask(image, num_inference_steps=1, output_format="gif", speed="exact")
    result = result_of(list(LocalEngine(here, "cpu").generate(asked, tmp_path, never())))
    assert ("wall_format" in codes(result), "wall_drafts" in codes(result)) == (True, False)
    assert (result.animation, result.request.output_format) == (None, "gif")


def test_a_prompts_still_is_made_once(
    here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.hub.Hub.text_to_image_path", lambda self: tmp_path)
    made: list[int] = []

    class Painter(Stages):
        def still(self, *args: Any) -> Iterator[Any]:
            made.append(1)
            yield Image.new("RGB", (64, 64), (200, 90, 40))

    asked = ask(None, prompt="a lighthouse", num_inference_steps=1)
    events = list(LocalEngine(here, stages=Painter(here, "cpu")).generate(asked, tmp_path / "out", never()))
    assert (len(made), sum(isinstance(event, StillMade) for event in events)) == (1, 1)
    assert result_of(events).image.startswith("sha256:")


def test_as_many_tiles_go_together_as_are_predicted_to_fit(settings: Settings) -> None:
    row = checkpoints(settings)["svd-xt"]
    big = Wall(seeds=4, motion_bucket_ids=(30, 90, 220))
    request = GenerationRequest(speed="draft", wall=big)
    profile = PROFILES["24gb"]

    def most(gigabytes: float, kind: str = "cuda", wall: Wall = big) -> int:
        clip = ClipSpec.of(request.model_copy(update={"wall": wall}), row)
        return max_tiles_per_call(clip, profile, kind, round(gigabytes * 1e9))

    assert most(200) == MOST
    assert most(200, wall=Wall(seeds=1, motion_bucket_ids=(30, 90, 220))) == 3
    assert 1 <= most(18) < most(20) < most(23) <= most(80) <= MOST
    assert most(6) == 1
    assert most(200, kind="cpu") == 1
    assert (
        max_tiles_per_call(ClipSpec.of(request, row), PROFILES["8gb"], "cuda", 200 * 10**9) < MOST
    )  # chosen to leave room
    assert max_tiles_per_call(ClipSpec.of(request, row), profile, "mps", None) == 1


def test_tiles_have_even_sides_and_the_shape_of_the_clip() -> None:
    wide = small(np.zeros((2, 576, 1024, 3), np.uint8))
    tall = small(np.zeros((2, 1024, 576, 3), np.uint8))
    assert (wide.shape, tall.shape) == ((2, 144, 256, 3), (2, 456, 256, 3))
    little = np.zeros((2, 64, 64, 3), np.uint8)
    assert small(little) is little


@pytest.mark.parametrize(("columns", "rows", "width", "height"), [(8, 3, 1024, 576), (3, 8, 576, 1024), (1, 1, 64, 64)])
def test_a_sheet_keeps_its_limits_and_its_order(columns: int, rows: int, width: int, height: int) -> None:
    count = columns * rows
    sheet = Sheet([f"seed {n}" for n in range(count)], columns, width, height)
    for index in range(count):
        sheet.put(index, Image.new("RGB", (50, 50), (index * 10, 200, 0)))
    picture = sheet._image
    assert max(picture.size) <= SHEET_SIDE
    across, down = picture.width / columns, picture.height / rows
    for index in range(count):
        row, column = divmod(index, columns)
        assert picture.getpixel((int(across * (column + 0.5)), int(down * (row + 0.4)))) == (index * 10, 200, 0)


class Losing(threading.Event):
    """A cancel that takes tiles off the wall once so many steps were seen."""

    def __init__(self, places: set[int], after: int) -> None:
        super().__init__()
        self.places, self.after, self.seen = frozenset(places), after, 0

    def left_out(self) -> frozenset[int]:
        return self.places if self.seen >= self.after else frozenset()


def lost(engine: LocalEngine, request: GenerationRequest, out: Path, cancel: Losing) -> tuple[Result, int]:
    """The wall, and how many steps it took."""
    events = []
    for event in engine.generate(request, out, cancel):
        cancel.seen += isinstance(event, Denoising)
        events.append(event)
    return result_of(events), cancel.seen


def motions(result: Result) -> list[tuple[int, int, str]]:
    return [(tile.seed, tile.motion_bucket_id, tile.video) for tile in result.tiles]


@pytest.mark.parametrize("together", [1, 4])
def test_a_wall_goes_on_without_a_tile_that_is_cancelled(
    here: Settings, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr("svd_ui.engine.wall.max_tiles_per_call", lambda *_: together)
    request, whole, parts = ask(image, num_inference_steps=3), Watched(here), Watched(here)
    list(LocalEngine(here, stages=whole).generate(request, tmp_path / "whole", never()))
    # One that is being made, one that waits.
    cancel = Losing({0, 3}, 2)
    result, steps = lost(LocalEngine(here, stages=parts), request, tmp_path / "parts", cancel)
    assert motions(result) == [(7, 220, "tile-01.mp4"), (8, 30, "tile-02.mp4")]
    assert steps == {1: 2 + 3 + 3, 4: 3}[together]
    for place, latents in zip((1, 2), parts.decoded, strict=True):  # as they would be in a whole wall, to rounding
        assert torch.allclose(latents, whole.decoded[place], atol=1e-4)
    assert not (tmp_path / "parts" / "tile-00.mp4").exists()


def test_tiles_that_were_cancelled_while_the_wall_waited_are_not_made(
    here: Settings, image: str, tmp_path: Path
) -> None:
    wall = WALL.model_copy(update={"without": (0, 1)})
    cancel = Losing(set(), 0)
    result, steps = lost(LocalEngine(here), ask(image, wall=wall, num_inference_steps=2), tmp_path, cancel)
    assert (motions(result), steps) == ([(8, 30, "tile-02.mp4"), (8, 220, "tile-03.mp4")], 4)


def test_a_wall_that_was_stopped_goes_on_without_what_was_cancelled_meanwhile(
    here: Settings, image: str, tmp_path: Path
) -> None:
    request = ask(image, num_inference_steps=2)
    running = LocalEngine(here).generate(request, tmp_path, never())
    steps = 0
    while steps < 5:  # two tiles and a half
        steps += isinstance(next(running), Denoising)
    running.close()  # type: ignore[attr-defined]
    later = ask(image, num_inference_steps=2, wall=WALL.model_copy(update={"without": (2,)}))
    result, more = lost(LocalEngine(here), later, tmp_path, Losing(set(), 0))
    assert [tile.video for tile in result.tiles] == ["tile-00.mp4", "tile-01.mp4", "tile-03.mp4"]
    assert more == 2
