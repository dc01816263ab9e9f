"""The Train tab and the list of LoRAs without a browser: values, words, what is refused, who may."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from svd_ui.catalog import CheckpointRow, nano_row
from svd_ui.engine import Device, Estimate
from svd_ui.errors import BadInput, NotFound, SvdUiError
from svd_ui.finetune import TrainRequest
from svd_ui.finetune.estimate import Cost
from svd_ui.finetune.runs import Status
from svd_ui.jobs import Job
from svd_ui.loras import LoraFile
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import Settings
from svd_ui.web.animate import stage
from svd_ui.web.animate.form import EXTRAS, default_of, request_of, switched, values_of
from svd_ui.web.animate.form_view import GONE, lora_list
from svd_ui.web.animate.groups import Loras, toggled, weighed
from svd_ui.web.context import Context
from svd_ui.web.formatting import html
from svd_ui.web.routes import SAMPLES, find_sample, routes
from svd_ui.web.train import views
from svd_ui.web.train.actions import TrainActions
from svd_ui.web.train.scan_worker import Looked, Looker
from svd_ui.web.visitor import may_train
from tests.clips.test_scan import mp4, pan

REF = "sha256:" + "a" * 64
STILL = {"ref": REF, "width": 400, "height": 300, "notes": []}
NAMES = [name for name in GenerationRequest.model_fields if name not in {"image", "method", "post"}]
CPU = Device(kind="cpu", name="CPU", total_bytes=8 * 2**30)


class NoJobs:
    """What of ``Jobs`` the tab needs."""

    inline = False

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1

    def describe(self) -> Device:
        return CPU

    def estimate(self, request: GenerationRequest) -> Estimate:
        return Estimate()

    def file(self, job: Job, name: str) -> None:
        return None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", devices="cpu")


@pytest.fixture
def actions(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrainActions:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return TrainActions(Context(NoJobs(), settings))  # type: ignore[arg-type]


def upload(tmp_path: Path, name: str) -> dict[str, str]:
    path = tmp_path / "uploads" / name
    path.write_bytes(b"x")
    return {"path": str(path), "name": name}


# LoRAs in the form


@pytest.mark.parametrize("odd", ["slow pans", "a, b:1", 'the "best"', "[v2] (1)", "Anna's", "style/ünï=2", "-x"])
def test_loras_travel_as_text(odd: str) -> None:
    refs = (LoraRef(name=odd, weight=0.8), LoraRef(name="glow.v2", weight=-1))
    text = Loras().unfold([ref.model_dump() for ref in refs])["loras"]
    values = {**EXTRAS, **{name: default_of(name) for name in NAMES}, "loras": text}
    request = request_of(values, nano_row(), STILL)  # type: ignore[arg-type]
    assert request.loras == refs
    assert values_of(request, nano_row(), None)["loras"] == text
    assert request_of({**values, "loras": ""}, nano_row(), STILL).loras == ()  # type: ignore[arg-type]


def test_a_lora_is_chosen_weighed_and_taken_out() -> None:
    text = toggled(toggled("", "a"), "b c")
    assert text == "a:1, b c:1"
    assert weighed(text, "a", 9) == "a:2, b c:1"
    assert weighed(text, "absent", 1) == text
    assert toggled(text, "a") == "b c:1"


def test_too_many_loras_are_refused_by_the_request() -> None:
    values = {**EXTRAS, **{name: default_of(name) for name in NAMES}}
    values["loras"] = ", ".join(f"l{i}:1" for i in range(9))
    with pytest.raises(BadInput) as error:
        request_of(values, nano_row(), STILL)  # type: ignore[arg-type]
    assert error.value.field == "loras"


def test_a_preset_may_bring_loras(monkeypatch: pytest.MonkeyPatch) -> None:
    from svd_ui.presets import Preset
    from svd_ui.web.animate import form

    preset = Preset(id="x", title="X", description="x", values={"loras": [{"name": "a", "weight": 0.5}]})
    monkeypatch.setattr(form, "presets", lambda: {"x": preset})
    values: dict[str, Any] = {**EXTRAS, "loras": ""}
    after = form.preset_values("x", nano_row())
    assert switched({}, after, values)["loras"] == "a:0.5"
    assert "loras" not in switched({}, after, {**values, "loras": "mine:1"})


def test_the_list_says_what_fits_and_what_cannot_be_used() -> None:
    rows = {"nano": nano_row(), "svd": CheckpointRow(id="svd", title="SVD (14)", num_frames=14, width=8, height=8)}
    known = {
        "fits": LoraFile(name="fits", path=Path("a"), bytes=1, base="nano", rank=4, licence="CC0"),
        "other": LoraFile(name="other", path=Path("b"), bytes=1, base="svd", title="<b>bold"),
        "odd": LoraFile(name="odd", path=Path("c"), bytes=1, trouble="It is a LoHa."),
    }
    weak = LoraFile(name="w", path=Path("d"), bytes=1, rank=8, alpha=4)
    assert "rank 8, alpha 4" in lora_list({"w": weak}, "", rows["nano"], rows)
    unsure = weak.model_copy(update={"notes": (Note.of("lora_alpha_assumed", title="w", some=""),)})
    assert "Strength unknown" in lora_list({"w": unsure}, "", rows["nano"], rows)
    assert "alpha is taken to be its rank" in lora_list({"w": unsure}, "w:1", rows["nano"], rows)
    many = {f"odd{i}": known["odd"].model_copy(update={"name": f"odd{i}"}) for i in range(5)}
    assert "5 files cannot be used" in lora_list(many, "", rows["nano"], rows)
    html = lora_list(known, "other:0.5, away:1", rows["nano"], rows)
    assert "for nano · rank 4 · CC0" in html
    assert "&lt;b&gt;bold" in html
    assert "Trained on SVD: with another checkpoint" in html
    assert 'data-lora="odd" disabled' in html
    assert "It is a LoHa." in html
    assert 'data-lora="away" checked' in html
    assert GONE in html
    assert html.count('type="range"') == 2
    assert lora_list({}, "", rows["nano"], rows) == ""


# Who may


@pytest.mark.parametrize(
    ("given", "may"),
    [({}, True), ({"host": "0.0.0.0"}, False), ({"share": True}, False), ({"host": "0.0.0.0", "auth": "a:b"}, True)],
)
def test_strangers_have_no_train_tab(tmp_path: Path, given: dict[str, Any], may: bool) -> None:
    import gradio as gr

    from svd_ui.web.animate import page_of

    settings = Settings(data_dir=tmp_path, devices="cpu", checkpoint="nano", **given)
    context = Context(NoJobs(), settings)  # type: ignore[arg-type]
    assert may_train(settings) is may
    assert (SAMPLES in {route.path for route in routes(context)}) is may
    demo = page_of(context)
    assert any(block.elem_id == "train" for block in demo.blocks.values()) is may
    names = {str(name) for name in demo.get_api_info()["named_endpoints"]}
    assert names == {"/submit", "/generate", "/status", "/cancel", "/history", "/schema", "/words"}
    assert isinstance(demo, gr.Blocks)


@pytest.mark.parametrize("name", ["../mine", "mine/..", "", "encoded", "absent"])
def test_samples_are_found_by_name_and_step_alone(actions: TrainActions, name: str) -> None:
    folder = actions.runs.folder("mine")
    folder.samples.mkdir(parents=True)
    (folder.samples / "step-000020.mp4").write_bytes(b"x")
    (folder.root / "request.json").write_text("{}")
    assert find_sample(actions.runs, "mine", "20") == folder.samples / "step-000020.mp4"
    for step in ("21", "../../request.json", "-1", "20.mp4"):
        assert find_sample(actions.runs, "mine", step) is None
    assert find_sample(actions.runs, name, "20") is None


# Clips


def test_only_uploads_become_clips(actions: TrainActions, tmp_path: Path) -> None:
    actions.take([upload(tmp_path, "a.mp4"), upload(tmp_path, "b.GIF")], "set")
    assert actions.clips.count("set") == 2
    assert actions.clips.names() == ["set"]
    assert list((tmp_path / "uploads").iterdir()) == []  # moved, not kept twice
    assert actions.take([upload(tmp_path, "photo.jpg"), upload(tmp_path, "IMG_1.MOV")], "phone").endswith(
        ": photo.jpg."
    )
    assert actions.clips.count("phone") == 1
    (tmp_path / "outside.mp4").write_bytes(b"x")
    for file, words in (
        ({"path": str(tmp_path / "outside.mp4")}, "Upload the file"),
        (upload(tmp_path, "c.txt"), "c.txt"),
    ):
        with pytest.raises(BadInput, match=words):
            actions.take([file], "set")
    with pytest.raises(BadInput, match="name of letters"):
        actions.take([upload(tmp_path, "d.mp4")], "../set")
    with pytest.raises(BadInput, match="more than 200"):
        actions.take([upload(tmp_path, f"{i}.mp4") for i in range(199)], "set")
    assert actions.clips.count("set") == 2


def test_looking_says_what_went_wrong(actions: TrainActions, tmp_path: Path) -> None:
    values = {"checkpoint": "nano", "method": "lora"}
    with pytest.raises(BadInput, match="Add clips first"):
        actions.look("set", values)
    actions.take([upload(tmp_path, "a.mp4")], "set")
    actions.look("set", values)
    end = time.monotonic() + 60
    while actions.looker.now.state == "looking" and time.monotonic() < end:
        time.sleep(0.05)
    assert actions.looker.now.state == "failed"
    assert "a.mp4" in actions.looked("set", values)


def test_a_newer_look_is_not_overwritten_by_an_older_one() -> None:
    looker = Looker()
    looker.now = Looked(number=1, state="looking", key=("b", 1, 1, 1, 7.0, 0.0, ()))
    looker._tell(("a", 1, 1, 1, 7.0, 0.0, ()), state="failed")
    assert looker.now.state == "looking"


def test_what_was_found_follows_the_clips(actions: TrainActions, tmp_path: Path) -> None:
    values = {"checkpoint": "nano", "num_frames": 4}

    def shown() -> str:
        end = time.monotonic() + 60
        while "Checking clips" in (html := actions.looked("set", values)) and time.monotonic() < end:
            time.sleep(0.05)
        return html

    def add(name: str, shift: int) -> None:
        mp4(tmp_path / "uploads" / name, pan(shift, 4, shift))
        actions.take([{"path": str(tmp_path / "uploads" / name)}], "set")

    add("a.mp4", 2)
    assert "training clip" not in shown()  # nobody has asked yet
    actions.look("set", values)
    assert "1 training clip of 4 frames" in shown()
    add("b.mp4", 3)
    assert "2 training clips of 4 frames" in shown()
    assert "2 files in set" in re.sub("</?b>", "", actions.door("set"))
    (actions.clips.folder("set") / "a.mp4").unlink()
    assert "1 training clip of 4 frames" in shown()
    (actions.clips.folder("set") / "b.mp4").unlink()
    assert "has no clips" in shown()


def test_the_histogram_is_told_in_words() -> None:
    from svd_ui.clips import Dropped, Scan, Stretch
    from svd_ui.notes import Note

    one = Stretch(source=Path("a"), name="a", kind="video", first=0, stride=1, num_frames=4, fps=7, score=0.1)
    found = Scan(
        stretches=(one,), dropped=(Dropped(name="b<.mp4", reason=Note.of("text", text="is damaged.")),), sources=2, scenes=1,
        histogram=(0, 3, 0, 1),
    )  # fmt: skip
    key = ("set", 8, 8, 4, 7.0, 0.01, ())
    html = views.scan(Looked(state="done", collection="set", key=key, scan=found), key)
    assert "1 training clip of 4 frames" in html
    assert 'aria-label="Motion labels: 3 from 65 to 128, 1 from 192 to 255"' in html
    assert "<b>b&lt;.mp4</b> is damaged." in html
    assert "stale" not in html
    assert "stale" in views.scan(Looked(state="done", key=key, scan=found), (*key[:3], 8, 7.0, 0.01, ()))


# Runs


def test_starting_needs_clips_and_frees_the_workers(
    actions: TrainActions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[TrainRequest] = []
    monkeypatch.setattr(actions.runs, "start", started.append)
    values = {"name": "mine", "checkpoint": "nano", "steps": 5}
    with pytest.raises(BadInput, match="Add clips first"):
        actions.start(values, "set")
    actions.take([upload(tmp_path, "a.mp4")], "set")
    with pytest.raises(BadInput) as error:
        actions.start({**values, "rank": 0}, "set")
    assert error.value.field == "rank"
    with pytest.raises(BadInput, match="on this machine"):
        actions.start({**values, "checkpoint": "no-such"}, "set")
    assert actions.context.jobs.released == 0  # type: ignore[attr-defined]
    actions.start(values, "set")
    (request,) = started
    assert (request.name, request.data.name, request.width) == ("mine", "set", nano_row().width)
    assert actions.context.jobs.released == 1  # type: ignore[attr-defined]


def put_run(actions: TrainActions, **status: object) -> None:
    folder = actions.runs.folder("mine")
    request = TrainRequest(name="mine", data=Path("set"), checkpoint="nano").resolved(nano_row())
    folder.write("request", request.model_dump(mode="json"))
    folder.write(
        "status", Status.model_validate({"steps": 9, "updated": time.time(), **status}).model_dump(mode="json")
    )


def test_a_run_says_how_it_ended_and_what_can_be_done(actions: TrainActions) -> None:
    put_run(actions, state="failed", step=3, message="The loss is no number <any> more.")
    html = actions.listed()
    assert "The loss is no number &lt;any&gt; more." in html
    assert 'data-act="resume"' in html
    assert 'data-act="use"' not in html
    put_run(actions, state="finished", step=9, result="mine.safetensors")
    assert "is no longer in the models folder" in actions.listed()
    with pytest.raises(NotFound):
        actions.use("mine")


def test_a_checkpoint_that_was_trained_is_tried(actions: TrainActions, settings: Settings) -> None:
    import json
    import shutil

    from svd_ui.catalog import NANO

    made = settings.models_dir / "mine"
    (made / "unet").mkdir(parents=True)
    shutil.copy(NANO / "model_index.json", made)
    shutil.copy(NANO / "unet" / "config.json", made / "unet")
    put_run(actions, state="finished", step=9, result="mine")
    request = {**json.loads((actions.runs.folder("mine").root / "request.json").read_text()), "method": "temporal"}
    actions.runs.folder("mine").write("request", request)
    assert actions.use("mine") == {"checkpoint": "local:mine", "loras": ""}


@pytest.mark.parametrize(("state", "said"), [("preparing", "Stopping."), ("training", "Progress is saved.")])
def test_a_run_that_is_asked_to_stop_says_so(actions: TrainActions, state: str, said: str) -> None:
    put_run(actions, state=state, step=3, pid=os.getpid(), message="Waiting for the device.")
    actions.runs.stop("mine")
    html = actions.listed()
    assert said in html
    assert "Waiting" not in html


def test_what_a_client_names_cannot_leave_the_training_folder(actions: TrainActions) -> None:
    for act in (actions.runs.stop, actions.runs.delete, actions.resume, actions.use):
        with pytest.raises(SvdUiError):
            act("../other")


def test_the_curve_smooths_and_thins() -> None:
    assert views.curve([{"step": 1, "loss": 0.5}]) is None
    lines = [{"step": i, "loss": 1.0 / i + (i % 2)} for i in range(1, 2001)]
    shown = html("train/curve", curve=views.curve(lines))
    assert shown.count("L") < 2 * views.MAX_POINTS + 10
    assert "to 0.474 at step 2000" in shown  # the mean of a loss that jumps between 0 and 1
    assert views.smoothed([2.0, 2.0]) == pytest.approx([2.0, 2.0])


def test_costs_in_words() -> None:
    cost = Cost(parameters=2_048, peak_bytes=2**30, seconds=125, fits=True)
    assert "About 2 min 5 s, 1.0 of 8" in views.cost(cost, CPU)
    assert "2,048 parameters" in views.cost(cost, CPU)
    assert "obstacle" in views.cost(cost.model_copy(update={"fits": False}), CPU)
    assert views.cost(None, CPU) == ""
    assert views.sample_url("my pans", 20, 1) == "svd/run/my%20pans/20?v=1"


def test_a_clip_that_waits_for_a_run_says_so() -> None:
    job = Job(id="a" * 32, owner="v", state="loading", request=GenerationRequest(image=REF), created=0)
    html = stage.stage(job, lambda *_: None, stage.Around(training="my <pans>"))
    assert "Waiting for the device" in html
    assert "the training run my &lt;pans&gt; uses it" in html
    assert "training run" not in stage.stage(job, lambda *_: None)
