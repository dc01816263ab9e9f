"""doctor, models, history, serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from svd_ui import __version__
from svd_ui.doctor import examine, facts, tilde
from svd_ui.doctor.finding import Patient
from svd_ui.engine import Device
from svd_ui.hub import Hub, layout
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.cli.conftest import Run
from tests.fakes import FakeEngine, fake_checkpoint
from tests.hub.fake_hub import COMMIT, repository

SVD = "stabilityai/stable-video-diffusion-img2vid"


def stock(cache: Path) -> Path:
    """Put SVD's files into a hub cache."""
    folder = layout.repo_folder(cache, SVD) / "snapshots" / COMMIT
    for name, data in repository(2_000_000).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    layout.set_main(cache, SVD, COMMIT)
    return folder


def test_the_version_is_shown(run: Run) -> None:
    assert run("--version").stdout.strip() == f"svd-ui {__version__}"


FAKE = Device(kind="cpu", name="Fake device")


def report(settings: Settings, device: Device) -> dict[str, Any]:
    patient = Patient(settings, {}, Hub(settings), device, "")
    return facts(patient, examine(patient))


def test_the_report_tells_all_settings_and_no_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_AUTH", "ann:s3cret-word")
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    settings = Settings()
    told = report(settings, FAKE)
    text = json.dumps(told)
    assert "s3cret" not in text
    assert "hf_very_secret" not in text
    rows = {row["variable"]: row for row in told["settings"]}
    assert rows.keys() == {f"SVD_UI_{name.upper()}" for name in Settings.model_fields}
    assert rows["SVD_UI_AUTH"]["value"] == "(set)"
    assert rows["SVD_UI_DATA_DIR"]["source"] == "environment"
    assert rows["SVD_UI_PORT"] == {
        "variable": "SVD_UI_PORT",
        "value": "7860",
        "source": "default",
        "help": Settings.model_fields["port"].description,
    }
    assert told["device"]["name"] == "Fake device"
    assert told["checkpoint"]["id"] == "local:little"
    assert {"svd-xt-1-1", "text-to-image"} <= {row["id"] for row in told["checkpoints"]}
    assert told["disk"]["data"]["free_bytes"] > 0


def test_an_env_file_is_named_as_the_source(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    Path(".env").write_text("SVD_UI_PORT=7999\n", "utf-8")
    told = report(Settings(), FAKE)
    row = next(row for row in told["settings"] if row["variable"] == "SVD_UI_PORT")
    assert (row["value"], row["source"]) == ("7999", ".env")


def test_paths_do_not_tell_the_users_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "ann")
    assert tilde(tmp_path / "ann" / "clips") == "~/clips"
    assert tilde(tmp_path / "anna") == str(tmp_path / "anna")


@pytest.fixture
def measured_by_a_fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine that stands where ``doctor --benchmark`` starts a worker."""
    fake = FakeEngine()
    monkeypatch.setattr("svd_ui.engine.worker.WorkerEngine", lambda settings: fake)
    return fake


def test_a_benchmark_is_a_table_with_what_is_in_use(run: Run, measured_by_a_fake: FakeEngine) -> None:
    result = run("doctor", "--benchmark")
    assert result.exit_code == 0, result.output
    assert "Fake device" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("attention"))
    assert line.split() == ["attention", "fake", "sdpa", "1", "in", "use"]
    assert measured_by_a_fake.closed


def test_a_benchmark_for_machines(run: Run, measured_by_a_fake: FakeEngine) -> None:
    facts = json.loads(run("doctor", "--benchmark", "--json").stdout)
    assert facts["device"] == "Fake device"
    assert facts["measurements"] == [row.model_dump(mode="json") for row in measured_by_a_fake.benchmark()]


def test_doctor_prints_why(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from svd_ui.cli.doctor import show

    device = Device(kind="cuda", name="A card", total_bytes=8_000_000_000, free_bytes=7_000_000_000, profile="8gb")
    show(report(settings, device), Console(width=200))
    text = capsys.readouterr().out
    for words in ("A card [cuda]", "7.0 GB free of 8.0 GB", "8gb", "named by SVD_UI_CHECKPOINT", "SVD_UI_IDLE_SECONDS"):
        assert words in text


def test_models_are_listed_with_presence_and_licence(run: Run, tmp_path: Path) -> None:
    stock(tmp_path / "hub")
    rows = {row["id"]: row for row in json.loads(run("models", "list", "--json").stdout)}
    assert rows["svd"]["present"]
    assert not rows["svd-xt"]["present"]
    assert rows["svd-xt-1-1"]["gated"]
    assert "Community" in rows["svd"]["licence"]
    assert "svd-xt-1-1" in run("models", "list").stdout


def test_a_list_says_where_each_was_found_and_what_cannot_be_used(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    models = tmp_path / "models"
    name = "a checkpoint with a name that is longer than any line of a terminal, of somebody who tuned it for a week"
    fake_checkpoint(models / name)
    (fake_checkpoint(models / "broken") / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (models / "svd_xt.safetensors").write_text("<html>", "utf-8")
    text = run("models", "list").stdout
    for id in (f"local:{name}", "local:broken", "svd-xt-1-1", "animatelcm-svd-xt", "text-to-image"):
        assert f"  {id}\n" in text, "an id stands whole on a line"
    here, _, rest = text.partition("To download")
    absent, _, unusable = rest.partition("Found, but not usable")
    assert f"local:{name}" in here and tilde(models / name)[:60] in here.replace("\n      ", "")
    assert "gated" in absent and "4.5 GB" in absent
    unusable = " ".join(unusable.split())
    assert "broken/vae holds no weights" in unusable and "vae/diffusion_pytorch_model.safetensors" in unusable
    assert "svd_xt.safetensors is a web page" in unusable and "sign in" in unusable
    rows = json.loads(run("models", "list", "--json").stdout)
    by_id = {row["id"]: row for row in rows if row["id"]}
    assert by_id[f"local:{name}"]["where"] == tilde(models / name) and not by_id["local:broken"]["present"]
    assert next(row["trouble"] for row in rows if not row["id"]).startswith("svd_xt.safetensors is a web page")


def test_what_is_damaged_is_said_before_anything_runs(run: Run, photo: Path, tmp_path: Path) -> None:
    (fake_checkpoint(tmp_path / "models" / "broken") / "vae" / "diffusion_pytorch_model.safetensors").write_text("<p>")
    for more in ((), ("--download",)):
        result = run("generate", photo, "--checkpoint", "local:broken", *more)
        assert (result.exit_code, "is a web page" in result.stderr) == (3, True)


def test_removing_asks_first(run: Run, tmp_path: Path) -> None:
    folder = stock(tmp_path / "hub")
    refused = run("models", "remove", "svd")
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert folder.is_dir()
    assert run("models", "remove", "svd", "--yes").exit_code == 0
    assert not folder.exists()
    assert "not on this machine" in run("models", "remove", "svd", "--yes").stderr


def test_a_folder_of_the_user_is_not_deleted(run: Run, settings: Settings) -> None:
    result = run("models", "remove", "local:little", "--yes")
    assert (result.exit_code, "yourself" in result.stderr) == (2, True)
    assert (Path(settings.checkpoint_dirs) / "little").is_dir()


def test_an_unknown_checkpoint_is_told_with_the_known_ones(run: Run) -> None:
    result = run("models", "download", "nope")
    assert (result.exit_code, "svd-xt" in result.stderr) == (2, True)


def test_history_is_newest_first(run: Run, photo: Path) -> None:
    for seed in (1, 2):
        run("generate", photo, "--seed", seed)
    found = json.loads(run("history", "--json").stdout)
    assert [row["request"]["seed"] for row in found] == [2, 1]
    lines = run("history", "--limit", 1).stdout
    assert found[0]["id"] in lines
    assert found[1]["id"] not in lines


def test_an_empty_history_says_so(run: Run) -> None:
    assert "No clips yet" in run("history").stdout


def test_a_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_PORT", "many")
    result = run("history")
    assert (result.exit_code, "SVD_UI_PORT" in result.stderr) == (2, True)


def test_a_console_that_lacks_letters_gets_question_marks(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "cp1252", "COLUMNS": "200"}
    environment |= {"SVD_UI_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "svd_ui", "generate", "猫.jpg"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert b"There is no file ?.jpg" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_data_folder_that_is_a_file_is_one_sentence(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path / "taken" / "data"))
    for command in (("history",), ("serve", "--no-open"), ("generate", photo)):
        result = run(*command)
        assert result.exit_code == 2, result.output
        assert "cannot be used (Not a directory)" in result.stderr
        assert "Traceback" not in result.output


def old_clip(settings: Settings, days: float) -> str:
    """A finished clip of a megabyte that ended so long ago."""
    from svd_ui.jobs.service import open_store

    id = f"{round(days):032x}"
    with open_store(settings) as jobs:
        jobs._store.add(id, "cli", "clip", GenerationRequest(prompt="a pond"))
        with jobs._database.write() as sql:
            ended = time.time() - days * 86_400
            sql.execute("UPDATE jobs SET state = 'finished', ended = ? WHERE id = ?", (ended, id))
    (settings.jobs_dir / id).mkdir(parents=True)
    (settings.jobs_dir / id / "clip.mp4").write_bytes(b"x" * 1_000_000)
    return id


def test_old_clips_go_when_somebody_says_so_and_are_told_before(run: Run, settings: Settings) -> None:
    old, new = old_clip(settings, 40), old_clip(settings, 2)
    dry = run("history", "prune", "--older-than", "30d", "--dry-run")
    assert "Would go: 1 clip, 1 MB, from " in dry.stdout
    assert (settings.jobs_dir / old).is_dir()
    assert "Deleted: 1 clip" in run("history", "prune", "--older-than", "30d").stdout
    assert not (settings.jobs_dir / old).exists()
    assert (settings.jobs_dir / new).is_dir()
    assert run("history", "prune", "--older-than", "30d").stdout == "Nothing to delete.\n"


def test_without_a_rule_nothing_goes(run: Run, settings: Settings) -> None:
    old_clip(settings, 4000)
    done = run("history", "prune")
    assert done.exit_code == 2
    assert "--older-than" in done.stderr
    assert run("history", "prune", "--larger-than", "a lot").exit_code == 2
