"""Kinds of clips: keys that last, and costs that scale."""

from __future__ import annotations

from typing import Any

import pytest

from svd_ui.catalog import STABILITY_ROWS, nano_row
from svd_ui.clip import ClipSpec
from svd_ui.events import Decoding, Denoising, Encoding
from svd_ui.jobs.timing import Known, RunTimer, Timing
from svd_ui.jobs.timing_key import CountedCosts, Pace, TimingKey, key_of
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")


def key(**values: Any) -> TimingKey:
    request = GenerationRequest(image="sha256:" + "0" * 64, checkpoint="svd-xt", **values)
    return key_of(ClipSpec.of(request, XT), "clip", from_prompt=False)


@pytest.fixture
def costs(settings: Settings) -> CountedCosts:
    return CountedCosts(settings)


def test_what_was_learnt_before_there_were_kinds_still_counts() -> None:
    old = "svd-xt|clip|1024x576|25|1|0"
    assert str(key()) == old
    assert TimingKey.parse(old) == key()


@pytest.mark.parametrize(
    ("stored", "tiles", "guided"),
    [
        ("nano|clip|288x512|14|0|0", 1, False),
        ("nano|clip|512x288|14|1|0", 1, True),
        ("nano|clip|512x288|14|0|0|pace=1,checkpoint,,,4", 4, False),
    ],
)
def test_a_key_in_the_history_of_an_earlier_release_is_found_again(stored: str, tiles: int, guided: bool) -> None:
    found = TimingKey.parse(stored)
    assert found is not None
    assert (found.checkpoint, found.pace.tiles, found.guided) == ("nano", tiles, guided)
    assert str(found) == stored


@pytest.mark.parametrize(
    "values",
    [
        {"speed": "fast"},
        {"speed": "draft"},
        {"cache_interval": 2},
        {"guidance_sigma_min": 0.5},
        {"guidance_sigma_max": 60.0},
        {"wall": Wall(seeds=2, motion_bucket_ids=(1, 2))},
    ],
)
def test_whatever_changes_the_cost_makes_another_key_that_survives_being_stored(values: dict[str, Any]) -> None:
    other = key(**values)
    assert str(other) != str(key())
    assert TimingKey.parse(str(other)) == other


def test_frames_that_are_rendered_make_a_key_of_their_size_and_rate() -> None:
    row = nano_row().model_copy(update={"motion_paths": ((127, 0.05),), "fps": 5})

    def rendered(**values: Any) -> TimingKey:
        return key_of(ClipSpec.of(GenerationRequest(**values), row), "clip", from_prompt=False)

    keys = {str(rendered()), str(rendered(render_height=1080)), str(rendered(output_fps=12)), str(rendered(fps=7))}
    assert len(keys) == 4
    assert str(rendered()) == "nano|clip|512x288|14|0|0|rendered=288,5,24"
    for one in (rendered(render_height=1080), rendered(speed="draft", post=[{"kind": "boomerang"}])):
        assert TimingKey.parse(str(one)) == one
    assert TimingKey.parse(f"{rendered()},5") is None


def test_a_broken_pace_is_no_key() -> None:
    assert TimingKey.parse(f"{key()}|pace=1,2") is None
    assert TimingKey.parse("pace=1,checkpoint,,,1") is None


def test_steps_scale_with_what_they_compute(costs: CountedCosts) -> None:
    exact = costs(key())
    halved = costs(key(min_guidance_scale=1.0, max_guidance_scale=1.0))
    assert exact.step / halved.step == pytest.approx(2)
    assert 0.3 < costs(key(cache_interval=3)).step / exact.step < 0.5
    wall = costs(key(wall=Wall(seeds=2, motion_bucket_ids=(1, 2, 3))))
    assert wall.step == pytest.approx(6 * exact.step) and wall.around == pytest.approx(6 * exact.around)
    # attention within a frame grows faster than the pixels do
    assert costs(key(width=2048, height=1152)).step > 4.2 * exact.step


def test_a_kind_is_counted_once_a_minute(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting looks through all checkpoints, and each waiting job asks at each look."""
    surveys, now = list[str](), [0.0]

    def find(_: Settings, id: str) -> Any:
        surveys.append(id)
        return XT

    monkeypatch.setattr("svd_ui.jobs.timing_key.find_checkpoint", find)
    costs = CountedCosts(settings, lambda: now[0])
    assert len({costs(key()) for _ in range(10)}) == len(surveys) == 1
    costs(key(num_inference_steps=7, width=512))
    assert len(surveys) == 2
    now[0] = 61.0  # a checkpoint may have been replaced
    costs(key())
    assert len(surveys) == 3


def test_an_unknown_model_scales_by_its_size(costs: CountedCosts) -> None:
    small, large = (TimingKey("gone", 512 * n, 288 * n, 14, guided=True, from_prompt=False) for n in (1, 2))
    assert costs(large).step == 4 * costs(small).step


def test_a_draft_is_foretold_from_an_exact_clip(costs: CountedCosts) -> None:
    known = Known({str(key()): Timing(step=10.0, before=3.0, after=20.0)}, warm="svd-xt", costs=costs)
    draft = known.find(str(key(cache_interval=3)))
    assert draft is not None and 3 < draft.step < 5
    assert draft.after == pytest.approx(20.0)  # the same frames are decoded
    assert (draft.before, draft.loading) == (3.0, 0.0)


def run(watch: RunTimer, steps: list[float]) -> RunTimer:
    now = 1.0
    watch.see(Encoding(), now)
    for index, seconds in enumerate(steps):
        now += seconds
        watch.see(Denoising(step=index + 1, total=len(steps), seconds=seconds), now)
    watch.see(Decoding(done=0, total=4), now)
    return watch


def test_uneven_steps_are_averaged_and_even_ones_are_not_led_astray() -> None:
    reusing = run(RunTimer(0.0, even=False), [9.0, 1.0, 1.0] * 4)
    assert reusing.step_seconds == pytest.approx(11 / 3)
    assert run(RunTimer(0.0), [20.0, *[1.0] * 11]).step_seconds == 1.0


def test_tiles_made_together_share_their_steps() -> None:
    timing = run(RunTimer(0.0, even=False), [2.0] * 6).timing(20.0, steps=3)  # two batches of three steps
    assert timing is not None and timing.step == pytest.approx(4.0)


def test_paces_that_are_even() -> None:
    assert Pace().even and Pace(schedule="ays").even
    assert not Pace(cache_interval=2).even and not Pace(guidance_sigma_min=1.0).even and not Pace(tiles=4).even
