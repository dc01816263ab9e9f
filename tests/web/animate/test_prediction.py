"""Predictions, speed labels, the wall's dials and what strangers are told, without a browser."""

from __future__ import annotations

import re

import pytest

from svd_ui.catalog import STABILITY_ROWS, CheckpointRow
from svd_ui.engine import Device, Estimate, Remedy
from svd_ui.errors import BadInput, HubOffline, WeightsMissing
from svd_ui.events import Effective, Result, Tile
from svd_ui.jobs import Job
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest, Wall
from svd_ui.web import visitor
from svd_ui.web.animate import groups, prediction, stage
from svd_ui.web.formatting import duration, html, roughly

ROW = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
GIB = 1024**3
CARD = Device(kind="cuda", name="card", total_bytes=8 * GIB, profile="8gb")
CPU = Device(kind="cpu", name="cpu", total_bytes=16 * GIB, profile="cpu")
REF = "sha256:" + "a" * 64


def text(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def shown(estimate: Estimate, device: Device | None, count: int = 1) -> str:
    return html("animate/prediction", **prediction.prediction(estimate, device, count))


def test_a_prediction_says_what_is_known_and_no_more() -> None:
    known = Estimate(seconds=24, basis="computed", peak_bytes=int(6.9 * GIB), profile="8gb", fits=True)
    line = shown(known, CARD)
    assert text(line).startswith("About 24 s, 6.9 of 8 GB VRAM (profile 8gb)")
    assert 'data-tip="computed, not yet measured here"' in line
    assert "About 1 min 12 s" in shown(known, CARD, count=3)
    assert text(shown(Estimate(peak_bytes=GIB), CPU)) == "1.0 of 16 GB memory"
    assert text(shown(Estimate(seconds=3), CARD)) == "About 3 s"
    assert shown(Estimate(), CARD) == ""
    assert shown(Estimate(peak_bytes=GIB), None) == ""
    assert shown(known.model_copy(update={"fits": False}), CARD) == ""


def test_an_obstacle_is_named_only_where_it_is_known() -> None:
    too_much = Estimate(peak_bytes=13 * GIB, fits=False, remedy=Remedy(values={"profile": "6gb"}))
    assert "13.0\u00a0GB, and this device has 8\u00a0GB of VRAM" in text(prediction.obstacle(too_much, CARD))
    assert "Use the 6 GB profile" in prediction.obstacle(too_much, CARD)
    assert "smaller size" in prediction.obstacle(too_much.model_copy(update={"remedy": None}), CARD)
    assert prediction.obstacle(Estimate(fits=None), CARD) == ""


def test_a_change_is_said_until_the_form_moves_on() -> None:
    remedy = Remedy(values={"profile": "6gb", "num_frames": 14, "unknown": 1})
    form = {"profile": "auto", "num_frames": None}
    change = prediction.change_of(Estimate(remedy=remedy), form)
    assert change == {"before": form, "after": {"profile": "6gb", "num_frames": 14}}
    said = text(prediction.changed(change, change["after"], {"num_frames": "25"}))
    assert "Memory: auto → 6gb, Frames: 25 → 14" in said
    assert prediction.changed(change, {**form, "profile": "6gb"}, {})  # the controls change one after the other
    assert prediction.changed(change, form, {}) == ""
    assert prediction.changed(change, {"profile": "6gb", "num_frames": 20}, {}) == ""


class Timed:
    """A context whose jobs know the seconds of each speed."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.jobs = seconds, self

    def estimate(self, request: GenerationRequest) -> Estimate:
        return Estimate(seconds=self.seconds.get(request.speed))


def labels(
    row: CheckpointRow = ROW, request: GenerationRequest | None = None, count: int = 1, **seconds: float
) -> dict:
    made = prediction.speed_labels(Timed(**seconds), row, request, count)  # type: ignore[arg-type]
    return {value: label.replace("\u00a0", " ") for label, value in made}


def test_a_speed_says_its_time_beside_that_of_full_quality() -> None:
    assert labels(exact=90, fast=40, draft=20) == {
        "exact": "Full quality\nabout 90 s",
        "fast": "Fast\n40 instead of 90 s",
        "draft": "Draft\n20 instead of 90 s",
    }
    assert labels(exact=90, fast=40, draft=20, count=4)["fast"] == "Fast\n3 instead of 6 min"
    assert labels(exact=180, fast=80)["fast"] == "Fast\n80 s instead of 3 min"


def test_where_no_time_is_known_or_none_is_won_a_speed_says_its_part() -> None:
    assert labels() == {
        "exact": "Full quality\nall steps",
        "fast": "Fast\ntwo fifths of the time",
        "draft": "Draft\na fifth of the time",
    }
    assert labels(exact=1.2, fast=0.8, draft=0.6)["draft"] == "Draft\na fifth of the time", "the same in whole seconds"
    by_hand = labels(request=GenerationRequest(cache_interval=3), exact=40)["exact"]
    assert by_hand == "Full quality\nabout 40 s, cut by Advanced"
    few_steps = ROW.model_copy(update={"family": "consistency", "num_inference_steps": 4})
    assert {labels(few_steps)[speed] for speed in ("fast", "draft")} == {
        "Fast\nno faster here",
        "Draft\nno faster here",
    }


def test_more_steps_at_every_speed_leave_the_share_as_it_is() -> None:
    usual, longer = (
        prediction.share(ROW, GenerationRequest(num_inference_steps=steps), "fast") for steps in (None, 60)
    )
    assert longer == pytest.approx(usual, abs=0.03)


def test_long_times_are_said_in_days() -> None:
    assert [roughly(seconds) for seconds in (0.2, 42, 100, 5400, 2.2 * 86400)] == [
        "1 s",
        "42 s",
        "2 min",
        "2 hours",
        "2 days",
    ]
    assert (duration(3 * 3600), duration(51 * 3600)) == ("3 h 0 min", "2 days 3 h")


def test_the_walls_dials_are_read_as_people_write_them() -> None:
    assert groups.wall_of(groups.wall_values(Wall())) == Wall()
    assert groups.wall_of({"wall_seeds": 2, "wall_motions": "10 20;30"}).motion_bucket_ids == (10, 20, 30)
    for bad, field in (
        ({"wall_seeds": 9}, "wall_seeds"),
        ({"wall_seeds": None}, "wall_seeds"),
        ({"wall_motions": ""}, "wall_motions"),
        ({"wall_motions": "40, 900"}, "wall_motions"),
        ({"wall_motions": "many"}, "wall_motions"),
        ({"wall_motions": "40, 40"}, "wall_motions"),
        ({"wall_seeds": 8, "wall_motions": "1, 2, 3, 4"}, "wall_motions"),
    ):
        with pytest.raises(BadInput) as error:
            groups.wall_of({**groups.wall_values(Wall()), **bad})
        assert error.value.field == field


def finished(request: GenerationRequest, **more: object) -> Job:
    made = Result.model_validate({"request": request, "image": REF, **more})
    return Job(id="b" * 32, owner="o", state="finished", request=request, result=made, created=1.0)


def test_a_result_says_what_was_effective_and_what_is_approximate() -> None:
    used = Effective(
        profile="6gb",
        decode_chunk_size=2,
        attention="sdpa",
        dtype="float16",
        device="x",
        compiled=True,
        reasons=("<why>",),
    )
    note = Note.of("approximate", facts=[Note.of("features_reused", interval=3)], cost=Note.of("cost_share", share=0.4))
    request = GenerationRequest(image=REF, seed=1, speed="fast")
    html = stage.stage(finished(request, effective=used, notes=(note, "Another.")), lambda *_: None)
    for said in (
        "profile 6gb",
        "lossless speed-ups",
        "compiled",
        "fast",
        "1 step in 3. About 40% of the work",
        "&lt;why&gt;",
    ):
        assert said in html
    assert html.count("features reused") == 1
    assert "<li>Another.</li>" in html
    assert "Approximate" not in stage.stage(finished(GenerationRequest(image=REF, seed=1)), lambda *_: None)


def test_a_full_clip_knows_the_wall_it_was_chosen_from() -> None:
    request = GenerationRequest(image=REF, seed=1, wall=Wall(seeds=1, motion_bucket_ids=(7,)))
    made = finished(request, tiles=(Tile(seed=1, motion_bucket_id=7, video="t.mp4"),))
    full = finished(request.tile(1, 7))
    assert stage.origin(full, [full, made]) == made.id
    assert stage.origin(finished(request.tile(2, 7)), [made]) is None
    assert stage.origin(made, [made]) is None
    assert stage.aspect(finished(request.model_copy(update={"width": 64, "height": 32}))) == "--w:64;--h:32"


@pytest.mark.parametrize(
    "error",
    [
        HubOffline(title="SVD", folder="/srv/my models/checkpoints"),
        WeightsMissing(title="SVD", remedy="/srv/hf/cache cannot be used (full): mend that, or set HF_HOME."),
        WeightsMissing(title="SVD", remedy=r"C:\models\hf cannot be used."),
    ],
)
def test_strangers_are_not_told_about_the_servers_folders(error: WeightsMissing) -> None:
    job = Job(id="c" * 32, owner="o", state="failed", request=GenerationRequest(), error=error.to_dict(), created=1.0)
    for remote in (True, False):
        html = stage.stage(job, lambda *_: None, stage.Around(remote=remote))
        assert ("models" in html or "/srv" in html) is not remote
        assert ("a folder of this server" in html) is remote


def test_addresses_and_plain_words_are_no_folders() -> None:
    message = "Accept its form at https://huggingface.co/stabilityai/x and/or run 1/2 of it. The end."
    assert (
        visitor.said({"message": message, "params": {"url": "https://huggingface.co/stabilityai/x"}}, True) == message
    )
