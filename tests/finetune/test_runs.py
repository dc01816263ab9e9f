"""Runs in processes of their own: started, watched, stopped, gone on with, deleted."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from svd_ui.core.devices import plan_for
from svd_ui.engine import device_lock
from svd_ui.errors import BadInput, NotFound
from svd_ui.finetune import TrainRequest
from svd_ui.finetune.clip_sets import ClipSets
from svd_ui.finetune.runs import RunFolder, Status, TrainingRuns
from svd_ui.settings import Settings
from tests.clips.test_scan import mp4, pan
from tests.tiny import save_tiny_svd


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, devices="cpu")


def asked(data: Path, **values: object) -> TrainRequest:
    return TrainRequest.model_validate({"name": "mine", "data": data, "checkpoint": "local:tiny-svd", **values})


def until(runs: TrainingRuns, state: str, seconds: float = 120) -> Status:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run = runs.get("mine")
        if run.status.state == state and (state == "training" or not run.alive):
            return run.status
        time.sleep(0.1)
    raise AssertionError(f"never {state}: {runs.get('mine')}")


def test_a_run_is_started_stopped_and_gone_on_with(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    save_tiny_svd(settings.models_dir / "tiny-svd", channels=(32, 32))
    runs = TrainingRuns(settings)
    clips = settings.data_dir / "mp4"
    clips.mkdir()
    mp4(clips / "a.mp4", pan(1, 4, 2))
    data = ClipSets(settings).add("my clips", [clips / "a.mp4"])
    request = asked(data, steps=100_000, rank=2, sample_every=0)
    assert runs.start(request).alive
    with pytest.raises(BadInput, match="running already"):
        runs.start(request)
    until(runs, "training")
    with pytest.raises(BadInput, match="Stop mine first"):
        runs.delete("mine")
    runs.stop("mine")
    reached = until(runs, "stopped").step
    assert reached > 0
    runs.start(request.model_copy(update={"steps": reached + 2}))
    status = until(runs, "finished")
    assert (status.step, status.result) == (reached + 2, "mine.safetensors")
    assert (settings.models_dir / "loras" / "mine.safetensors").is_file()
    runs.delete("mine")
    assert runs.all() == []
    assert (settings.models_dir / "loras" / "mine.safetensors").is_file()


def test_a_run_that_cannot_begin_says_why(settings: Settings) -> None:
    runs = TrainingRuns(settings)
    runs.start(asked(settings.data_dir / "absent", checkpoint="no-such-model"))
    status = until(runs, "stopped", 60)
    assert "no checkpoint 'no-such-model'" in status.message


def test_a_dead_process_is_not_taken_for_a_living_one(settings: Settings) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = RunFolder(settings.training_dir / "mine")
    status = Status(state="training", step=7, steps=9, pid=process.pid, updated=time.time())
    folder.write("status", status.model_dump(mode="json"))
    run = TrainingRuns(settings).get("mine")
    assert (run.alive, run.status.state) == (False, "stopped")
    assert "after 7 steps" in run.status.message


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "clips", "encoded"])
def test_names_cannot_leave_the_folder(settings: Settings, name: str) -> None:
    with pytest.raises(NotFound):
        TrainingRuns(settings).folder(name)


def test_a_run_that_waits_for_the_device_stops_at_once(settings: Settings, tmp_path: Path) -> None:
    save_tiny_svd(settings.models_dir / "tiny-svd", channels=(32, 32))
    runs = TrainingRuns(settings)
    folder = runs.folder("mine")
    folder.set_status(Status(state="stopped", step=7, steps=9))
    with device_lock(settings, plan_for(settings).info.id):
        runs.start(asked(tmp_path, steps=9))
        until_waiting(runs)
        runs.stop("mine")
        status = until(runs, "stopped", 5)
    assert "while waiting for the device" in status.message
    assert status.step == 7  # what it goes on from

    # One that is stopped before its process has looked anywhere does not begin either; a new start forgets that.
    runs.start(asked(tmp_path, steps=9))
    runs.stop("mine")
    assert "while waiting for the device" in until(runs, "stopped", 60).message
    runs.start(asked(tmp_path, steps=9))
    assert not folder.asked_to_stop
    assert until(runs, "failed", 60).state == "failed"  # for want of clips: it has begun


def until_waiting(runs: TrainingRuns) -> None:
    end = time.monotonic() + 60
    while runs.get("mine").status.message != "Waiting for the device." and time.monotonic() < end:
        time.sleep(0.1)


def test_uploads_keep_to_their_folder(settings: Settings, tmp_path: Path) -> None:
    odd = tmp_path / "..evil;name.mp4"
    odd.write_bytes(b"x")
    folder = ClipSets(settings).add("set", [odd])
    assert [path.parent for path in folder.iterdir()] == [settings.training_dir / "clips" / "set"]
    with pytest.raises(BadInput):
        ClipSets(settings).add("../set", [odd])


def test_clips_of_one_name_are_both_kept(settings: Settings, tmp_path: Path) -> None:
    cameras = [tmp_path / name / "IMG_1.mov" for name in ("first", "second", "third")]
    for number, path in enumerate(cameras):
        path.parent.mkdir()
        path.write_bytes(bytes([number]))
    sets = ClipSets(settings)
    sets.add("set", cameras[:2])
    folder = sets.add("set", [cameras[2], cameras[1]])  # the second for the second time
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "IMG_1.mov": b"\0",
        "IMG_1 2.mov": b"\1",
        "IMG_1 3.mov": b"\2",
    }


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("{}", None),
        ("[]", None),
        ('{"state": "paused"}', None),
        ('{"state": "finished", "a_field_of_a_newer_release": 1}', "finished"),
        ('{"state": "finished", "pid": "x", "step": -1.5}', "finished"),
    ],
)
def test_a_status_of_another_release_or_a_damaged_one_breaks_no_list(
    settings: Settings, text: str, state: str | None
) -> None:
    folder = settings.training_dir / "mine"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(text)
    assert [run.status.state for run in TrainingRuns(settings).all()] == ([state] if state else [])
