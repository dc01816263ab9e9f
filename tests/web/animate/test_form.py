"""The form without a browser: values, requests, presets, aspect, formatting."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from svd_ui.catalog import STABILITY_ROWS, CheckpointRow, nano_row
from svd_ui.catalog.checkpoint import ANIMATE_LCM
from svd_ui.errors import BadInput, OutOfMemory
from svd_ui.events import Result, Tile
from svd_ui.jobs import Job, status
from svd_ui.jobs.service import JobService
from svd_ui.presets import presets
from svd_ui.request import FOCUS, GenerationRequest, Speed, Wall
from svd_ui.settings import Settings
from svd_ui.web import formatting, visitor
from svd_ui.web.animate import stage
from svd_ui.web.animate.actions import Actions
from svd_ui.web.animate.form import (
    EXTRAS,
    all_requests,
    default_of,
    describe_preset,
    kept_values,
    preset_values,
    request_of,
    switched,
    values_of,
)
from svd_ui.web.animate.offers import own_values
from svd_ui.web.animate.stills import ASPECT_CHOICES, Still, aspect_of, examples, size_of
from svd_ui.web.context import Context
from svd_ui.web.controls import CLIP
from svd_ui.web.page import Page
from tests.fakes import FakeEngine

ROW = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
SMALL = CheckpointRow(id="nano", title="nano", num_frames=14, width=256, height=144, size_multiple=8)
REF = "sha256:" + "a" * 64
STILL: Still = {"ref": REF, "width": 400, "height": 300, "notes": []}
NAMES = [name for name in GenerationRequest.model_fields if name not in {"image", "method", "post"}]


def values(**changes: object) -> dict:
    return {**EXTRAS, **{name: default_of(name) for name in NAMES}, **changes}


def test_blank_fields_stay_the_checkpoints() -> None:
    request = request_of(values(), ROW, STILL)
    assert (request.num_frames, request.fps, request.seed) == (None, None, None)
    assert (request.image, request.prompt) == (REF, None)
    assert (request.focus_x, request.focus_y) == (None, None)
    assert (request.width, request.height) == ROW.size_for(4 / 3) == (768, 576), "in the shape of the picture"


def test_a_prompt_counts_only_on_its_side() -> None:
    assert request_of(values(prompt="a hill"), ROW, STILL).image == REF
    prompted = request_of(values(prompt="a hill", source="Prompt"), ROW, STILL)
    assert (prompted.image, prompted.prompt) == (None, "a hill")


def test_the_still_made_from_a_prompt_is_animated_until_the_prompt_changes() -> None:
    made: Still = {**STILL, "prompt": "a hill"}
    assert request_of(values(prompt="a hill ", source="Prompt"), ROW, made).image == REF
    assert request_of(values(prompt="a lake", source="Prompt"), ROW, made).image is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [({}, "image"), ({"source": "Prompt"}, "prompt"), ({"source": "Prompt", "prompt": " "}, "prompt")],
)
def test_nothing_to_start_from_is_said_at_its_place(changes: dict, field: str) -> None:
    with pytest.raises(BadInput) as error:
        request_of(values(**changes), ROW, None)
    assert error.value.field == field


@pytest.mark.parametrize(("name", "bad"), [("fps", 99), ("num_frames", 1), ("width", 100), ("min_guidance_scale", 0.5)])
def test_a_bad_value_names_its_field(name: str, bad: float) -> None:
    extra = {"height": 576} if name == "width" else {}
    with pytest.raises(BadInput) as error:
        request_of(values(**{name: bad}, **extra), ROW, STILL)
    assert error.value.field == name


def test_one_half_of_a_size_asks_for_the_other() -> None:
    with pytest.raises(BadInput) as error:
        request_of(values(width=512), ROW, STILL)
    assert error.value.field == "height"


def test_every_picture_with_every_seed() -> None:
    stills = {"items": [STILL, {**STILL, "ref": "sha256:" + "b" * 64}], "at": 0}
    made = all_requests(values(seeds=3, seed=10), ROW, stills)
    assert [request.seed for request in made] == [10, 11, 12] * 2
    assert len({request.image for request in made}) == 2
    with pytest.raises(BadInput):
        all_requests(values(seeds=99), ROW, stills)


@pytest.mark.parametrize("row", [ROW, SMALL], ids=lambda row: row.id)
@pytest.mark.parametrize("aspect", ["16:9", "9:16", "1:1", "4:5", "Source"])
def test_a_request_comes_back_as_the_same_aspect(row: CheckpointRow, aspect: str) -> None:
    request = request_of(values(aspect=aspect, seed=3, fps=9), row, STILL)
    back = values_of(request, row, STILL)
    assert size_of(row, back["aspect"], STILL) == (request.width, request.height)
    assert (back["width"], back["seed"], back["fps"], back["source"]) == (None, 3, 9, "Picture")


def test_an_odd_size_comes_back_as_numbers() -> None:
    request = request_of(values(width=640, height=512), ROW, STILL)
    back = values_of(request, ROW, STILL)
    assert (back["width"], back["height"]) == (640, 512)
    assert aspect_of(640, 512) is None


def test_what_the_checkpoint_fills_in_itself_comes_back_blank() -> None:
    asked = request_of(values(checkpoint="svd-xt", seed=3, fps=9, max_guidance_scale=4.0, speed="draft"), ROW, STILL)
    made = asked.resolved(ROW.defaults("draft"))
    back = values_of(made, ROW, STILL)
    assert (back["fps"], back["max_guidance_scale"], back["seed"], back["speed"]) == (9, 4.0, 3, "draft")
    blank = (
        "num_frames",
        "num_inference_steps",
        "schedule",
        "cache_interval",
        "min_guidance_scale",
        "output_fps",
        "width",
    )
    assert not any(back[name] for name in blank)
    again = request_of(back, ROW, STILL)
    assert again.resolved(ROW.defaults("draft")) == made, "the same clip"
    # Blank means another thing for another checkpoint, and that is why it is blank.
    assert request_of(back, SMALL, STILL).resolved(SMALL.defaults("draft")).num_frames == SMALL.num_frames


@pytest.mark.parametrize("speed", ["exact", "fast", "draft"])
@pytest.mark.parametrize("row", [*STABILITY_ROWS, ANIMATE_LCM, nano_row()], ids=lambda row: row.id)
def test_a_restored_clip_is_the_same_clip_for_every_checkpoint(row: CheckpointRow, speed: Speed) -> None:
    for given in (
        {},
        {"output_fps": 24},
        {"fps": 5},
        {"min_guidance_scale": 9.0},
        {"num_frames": 20, "schedule": "ays"},
    ):
        made = GenerationRequest(image=REF, seed=5, speed=speed, **given).resolved(row.defaults(speed))
        left = made.unresolved(row.defaults(speed))
        assert left.resolved(row.defaults(speed)) == made
        assert left.model_dump(exclude_none=True).keys() <= made.model_dump(exclude_none=True).keys()


def test_a_preset_is_meant_for_the_chosen_checkpoint() -> None:
    portrait = presets()["portrait"]
    assert preset_values("portrait", ROW) == {**portrait.values, "aspect": "4:5"}
    assert preset_values("portrait", nano_row()) == {**portrait.families["warp"].values, "aspect": "4:5"}
    assert preset_values("None", ROW) == {}
    assert "face" in describe_preset("portrait", ROW) != describe_preset("portrait", nano_row())


def test_presets_yield_to_what_was_set_by_hand() -> None:
    portrait = preset_values("portrait", ROW)
    assert switched({}, portrait, values())["motion_bucket_id"] == portrait["motion_bucket_id"]
    assert "motion_bucket_id" not in switched({}, portrait, values(motion_bucket_id=200))
    back = switched(portrait, {}, values(**portrait))
    assert (back["motion_bucket_id"], back["aspect"]) == (127, EXTRAS["aspect"])


def own(row: CheckpointRow, **changes: object) -> dict | None:
    form = values(checkpoint=row.id, **changes)
    return own_values(form, row, STILL)  # type: ignore[return-value]


def test_what_was_set_for_another_checkpoint_can_be_left_to_the_new_one() -> None:
    change = own(ROW, num_frames=14, fps=5, num_inference_steps=8, seed=4)
    assert change is not None
    assert change["before"] == {"checkpoint": "svd-xt", "num_frames": 14, "fps": 5, "num_inference_steps": 8}
    assert change["after"] == {"checkpoint": "svd-xt", "num_frames": None, "fps": None, "num_inference_steps": None}


def test_a_size_that_another_checkpoint_likes_is_left_as_a_whole() -> None:
    change = own(ROW, width=512, height=576)
    assert change is not None
    assert change["after"] == {"checkpoint": "svd-xt", "width": None, "height": None}


def test_nothing_is_offered_where_nothing_is_foreign() -> None:
    assert own(ROW) is None
    assert own(ROW, num_frames=25, fps=7, max_guidance_scale=3, seed=9, prompt="a hill", negative_prompt="fog") is None
    assert own(ROW, preset="quick-draft", **preset_values("quick-draft", ROW) | {"aspect": "16:9"}) is None


def test_a_still_of_a_model_that_rounds_is_taken_as_the_checkpoints_own_shape() -> None:
    assert size_of(ROW, "Source", {**STILL, "width": 704, "height": 384}) == (1024, 576)
    assert size_of(SMALL, "Source", {**STILL, "width": 704, "height": 384}) == (256, 144)


def test_the_shape_of_a_clip_made_of_source_is_that_clips_own_source() -> None:
    """So that going on from its last frame, and its settings, give the same size."""
    for row in (ROW, SMALL):
        for width in range(300, 2400, 7):
            made = size_of(row, "Source", {**STILL, "width": width, "height": 900})
            assert size_of(row, "Source", {**STILL, "width": made[0], "height": made[1]}) == made


def test_without_its_picture_a_size_is_no_source() -> None:
    assert values_of(GenerationRequest(image=REF, width=1024, height=576), ROW, None)["aspect"] == "16:9"


def test_a_focus_counts_as_typed_then_as_dragged_each_side_for_itself() -> None:
    dragged: Still = {**STILL, "focus": (0.2, 0.9)}
    assert request_of(values(), ROW, dragged).focus == (0.2, 0.9)
    assert request_of(values(focus_y=0.4), ROW, dragged).focus == (0.2, 0.4)
    both = {"items": [dragged, {**STILL, "ref": "sha256:" + "b" * 64}], "at": 0}
    assert [request.focus_x for request in all_requests(values(), ROW, both)] == [0.2, None]


def test_what_an_earlier_release_kept_as_its_defaults_is_no_choice() -> None:
    page = Page(remote=False)
    for name in (*FOCUS, "motion_bucket_id"):
        page.control(name, CLIP.control(name))
    page.control("aspect", gr.Radio(list(ASPECT_CHOICES)))
    old = {"focus_x": 0.5, "focus_y": 0.5, "aspect": "16:9", "motion_bucket_id": 90}
    assert kept_values(page, old) == {"focus_x": None, "focus_y": None, "aspect": "Source", "motion_bucket_id": 90}
    assert kept_values(page, {**old, "aspect": "9:16"})["aspect"] == "9:16"
    chosen = {**old, "focus_x": 0.3}
    assert kept_values(page, chosen) == chosen


def test_ranges_come_from_the_fields() -> None:
    slider = CLIP.control("motion_bucket_id")
    assert (slider.minimum, slider.maximum, slider.value, slider.label) == (1, 255, 127, "Motion")
    assert CLIP.control("prompt").max_length == 500
    assert CLIP.control("num_frames").value is None


def job(**changes: object) -> Job:
    base = {"id": "0" * 32, "owner": "v", "state": "queued", "request": GenerationRequest(image=REF), "created": 0.0}
    return Job(**{**base, **changes})


def test_markup_escapes_what_people_type() -> None:
    evil = GenerationRequest(prompt="<img src=x onerror=alert(1)>")
    html = stage.stage(job(request=evil, state="failed", error={"code": "x", "message": "<b>"}), lambda *_: None)
    html += stage.history([job(request=evil)], lambda *_: None, None, None)
    assert "<img src=x" not in html
    assert "<b>" not in html


def test_titles_tell_progress() -> None:
    assert formatting.title(job(state="denoising", step=5, total=10)) == "50% Animating · SVD UI"
    assert formatting.title(job(state="finished")).startswith("✓ Ready")
    assert formatting.left(75) == "about 1 min 15 s left"


def test_a_report_keeps_no_secret_path_or_prompt() -> None:
    error = OutOfMemory(doing="x", remedy="hf_abcdefghijk /home/ann/models/x.bin C:\\Users\\ann\\x.bin").to_dict()
    text = visitor.error_report(job(state="failed", error=error, request=GenerationRequest(prompt="my secret")), None)
    assert not any(word in text for word in ("hf_abc", "ann", "my secret"))
    assert "out_of_memory" in text


def test_the_pages_process_never_imports_torch() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from svd_ui.settings import Settings\n"
        "from svd_ui.jobs.service import JobService\n"
        "from svd_ui.web import build_ui\n"
        "from svd_ui.web.context import Context\n"
        "s = Settings(data_dir=pathlib.Path(tempfile.mkdtemp()))\n"
        "build_ui(Context(JobService(s, slots=False), s))\n"
        "import svd_ui.jobs.service, app\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'accelerate'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_job_is_called_by_its_prompt_or_its_file() -> None:
    assert formatting.headline(job(name="red boat")) == "red boat"
    assert formatting.headline(job(name="red boat", request=GenerationRequest(prompt="a kite"))) == "a kite"
    assert formatting.headline(job()) == "Clip"
    assert formatting.headline(job(request=GenerationRequest(image=REF, wall=Wall()))) == "Wall"


def test_who_opens_a_link_is_not_told_the_name_of_the_file(tmp_path: Path) -> None:
    """Nor is it in the answers of the API, in what a report says, or with what is made anew from it."""

    def asking(name: str) -> Any:
        return SimpleNamespace(cookies={visitor.COOKIE: name}, session_hash="")

    for host, copied in (("0.0.0.0", ""), ("127.0.0.1", "secret plans")):
        settings = Settings(data_dir=tmp_path / host, host=host)
        with JobService(settings, FakeEngine(settings=settings), slots=False) as jobs:
            actions = Actions(Context(jobs, settings), ())
            still = actions.context.assets.add(examples()[0], "#ffffff")
            request = GenerationRequest(image=still.ref, seed=1)
            ann, bob = visitor.who(settings, actions.context.accounts, asking("ann")).owner, asking("bob")
            made = jobs.submit(request, ann, name="secret plans")
            shown = [
                stage.stage(made, jobs.file),
                json.dumps(status(made, jobs.file), default=str),
                visitor.error_report(made, None),
                visitor.settings_json(made),
            ]
            assert "secret plans" not in "".join(shown)
            assert actions.retry(made.id, bob).name == copied
            assert actions.reseed(made.id, bob).name == copied
            assert actions.reseed(made.id, asking("ann")).name == "secret plans"
            assert ("secret plans" in actions.view(made.id, bob)["history"]) == bool(copied)


def test_of_clips_made_together_the_one_that_is_made_is_named() -> None:
    first, second, third = (
        job(id=str(n) * 32, batch="b", state=state) for n, state in enumerate(["finished", "denoising", "queued"])
    )
    together = [first, second, third]
    assert stage.batch_of(first, together) == stage.BatchPlace(2, 3, second, 2)
    assert "Making clip <b>2 of 3</b>" in stage.stage(
        first, lambda *_: None, stage.Around(batch=stage.batch_of(first, together))
    )
    half = [first, second.model_copy(update={"step": 5, "total": 10}), third]
    shown = stage.stage(first, lambda *_: None, stage.Around(batch=stage.batch_of(first, half)))
    assert 'data-title="2 of 3 · 50% Animating · SVD UI"' in shown
    done = [one.model_copy(update={"state": "finished"}) for one in together]
    assert stage.batch_of(first, done) is None
    assert stage.batch_of(first, []) is None


def test_a_paused_queue_is_called_so_and_promises_no_time() -> None:
    waiting = job(state="queued", position=0, eta_seconds=8.0, message="Stopped here. Continues by itself.")
    shown = stage.stage(waiting, lambda *_: None, stage.Around(paused=True))
    assert "<b>Paused</b>" in shown
    assert 'data-title="Paused · SVD UI"' in shown
    assert "about 8 s left" not in shown
    assert "Continues by itself" not in shown
    assert "about 8 s left" in stage.stage(waiting, lambda *_: None)


def test_tiles_of_a_wall_keep_their_places_where_others_were_cancelled() -> None:
    wall = Wall(seeds=2, motion_bucket_ids=(40, 200))
    request = GenerationRequest(image=REF, seed=7, wall=wall)
    tiles = tuple(Tile(seed=seed, motion_bucket_id=40, video=f"tile-{seed}.mp4") for seed in (7, 8))
    made = job(state="finished", request=request, result=Result(request=request, image=REF, tiles=tiles))
    shown = stage.stage(made, lambda *_: Path("there"))
    assert re.findall(r'class="tile" role="listitem" style="(.*?)"', shown) == [
        "--row:2;--column:2",
        "--row:3;--column:2",
    ]
    assert re.findall(r"tile-\d(?=[\"?])", shown) == ["tile-0", "tile-1"]
    running = job(
        state="denoising", request=request.model_copy(update={"wall": wall.model_copy(update={"without": (3,)})})
    )
    shown = stage.stage(running, lambda *_: None)
    assert (shown.count('data-act="untile"'), shown.count("tile gone")) == (3, 1)


def test_a_failure_is_announced_once() -> None:
    html = stage.stage(job(state="failed", error={"code": "x", "message": "The disk is full."}), lambda *_: None)
    assert 'data-say="Failed. The disk is full."' in html
    assert "alert" not in html
    assert "data-say" not in stage.stage(None, lambda *_: None)
    assert "no clip at this address" in stage.stage(None, lambda *_: None, stage.Around(lost=True))
