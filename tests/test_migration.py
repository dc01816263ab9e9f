"""What another release wrote is read as far as this one understands it; a renamed field keeps its old name everywhere."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import typer
from typer.testing import CliRunner

from svd_ui import migration, presets
from svd_ui.cli import fields
from svd_ui.errors import BadInput
from svd_ui.finetune import TrainRequest, read_config, read_stored, stored
from svd_ui.finetune.runs import TrainingRuns
from svd_ui.migration import migrate, renamed
from svd_ui.request import SCHEMA_VERSION, GenerationRequest
from svd_ui.settings import Settings
from svd_ui.settings_tag import parse
from svd_ui.validation import validate
from svd_ui.web.animate.form import kept_values
from svd_ui.web.api import Api
from svd_ui.web.page import Page

RUN = {"name": "slow pans", "data": "clips"}


@pytest.fixture(autouse=True)
def old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ``motion_bucket_id`` had been called ``motion`` once, and ``learning_rate`` ``lr``."""
    monkeypatch.setitem(migration.RENAMED, "GenerationRequest", {"motion": "motion_bucket_id", "tiles": "wall"})
    monkeypatch.setitem(migration.RENAMED, "TrainRequest", {"lr": "learning_rate"})


def test_a_renamed_field_is_understood_where_values_come_in() -> None:
    assert validate({"motion": 60}).motion_bucket_id == 60
    assert renamed(GenerationRequest, {"motion": 60, "motion_bucket_id": 70}) == {"motion_bucket_id": 70}
    with pytest.raises(BadInput, match="Motion must be") as caught:
        validate({"motion": 900})
    assert caught.value.field == "motion_bucket_id"


def test_a_tag_with_an_old_name_loses_nothing() -> None:
    found = parse(json.dumps({"svd_ui": 1, "request": {"motion": 60, "seed": 5}}))
    assert (found.request.motion_bucket_id, found.request.seed, found.dropped) == (60, 5, ())


def test_the_api_takes_the_old_name_after_todays_parameters(settings: Settings) -> None:
    api = Api(SimpleNamespace(row=lambda checkpoint: None))  # type: ignore[arg-type]
    endpoint = api.named(api.submit)
    names = list(inspect.signature(endpoint).parameters)
    assert [name for name in names[names.index("token") + 1 :] if name != "request"] == ["motion", "tiles", "frame"]
    assert api._request({"motion": 60, "prompt": "a hill"}, []).motion_bucket_id == 60


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def invoked(*arguments: str) -> Any:
    app = typer.Typer()

    @app.command()
    @fields.with_field_flags(GenerationRequest)
    def show(**given: Any) -> None:
        named, remarks = fields.today(GenerationRequest, given)
        typer.echo(json.dumps([fields.values(named), remarks]))

    result = CliRunner().invoke(app, arguments)
    return json.loads(result.stdout) if "--help" not in arguments else result.stdout


def test_the_old_flag_works_and_says_what_it_is_called_now() -> None:
    assert invoked("--motion", "60") == [{"motion_bucket_id": 60}, ["--motion is called --motion-bucket-id now."]]
    assert invoked("--motion", "60", "--motion-bucket-id", "70")[0] == {"motion_bucket_id": 70}
    assert invoked("--tiles-seeds", "2")[0] == {"wall": {"seeds": 2}}
    assert invoked("--seed", "1") == [{"seed": 1}, []]


def test_the_help_shows_todays_name_alone() -> None:
    shown = invoked("--help")
    assert "--motion-bucket-id" in shown
    assert "--motion " not in shown
    assert "--tiles" not in shown


def test_what_the_browser_kept_under_an_old_name_is_on_the_form_again() -> None:
    page = Page(remote=False)
    page.control("motion_bucket_id", gr.Slider(1, 255))
    page.control("seed", gr.Number())
    assert kept_values(page, {"motion": 60, "gone": 1}) == {"motion_bucket_id": 60, "seed": None}


def write_preset(folder: Path, **content: Any) -> presets.Preset:
    (folder / "mine.json").write_text(json.dumps({"title": "Mine", "description": "B.", **content}))
    presets.presets.cache_clear()
    return presets.presets(folder)["mine"]


def test_a_preset_of_a_newer_release_is_used_as_far_as_it_is_understood(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"motion": 60, "sparkle": 3, "fps": 900}
    preset = write_preset(tmp_path, version=SCHEMA_VERSION + 1, values=values, colour="red")
    assert preset.values == {"motion_bucket_id": 60}
    assert set(preset.dropped) == {"colour", "sparkle", "fps"}
    assert "preset mine: Skipped, not known to this version: colour" in caplog.text


def test_a_preset_written_by_hand_is_told_its_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mine\.json .*did you mean motion_bucket_id"):
        write_preset(tmp_path, values={"motion_buckt_id": 60})
    assert write_preset(tmp_path, values={"motion": 60}).values == {"motion_bucket_id": 60}


def test_our_own_presets_say_their_version_and_are_understood_in_full() -> None:
    for path in presets.FOLDER.glob("*.json"):
        assert json.loads(path.read_text())["version"] == SCHEMA_VERSION
    presets.presets.cache_clear()
    assert not any(preset.dropped for preset in presets.presets().values())


def test_a_run_keeps_its_request_with_the_version_and_gets_it_back() -> None:
    request = TrainRequest.model_validate({**RUN, "steps": 20, "width": 256, "height": 144})
    data = json.loads(json.dumps(stored(request)))
    assert data["version"] == SCHEMA_VERSION
    assert read_stored(data) == (request, ())


@pytest.mark.parametrize("version", [None, 1, SCHEMA_VERSION + 1, "x"])
def test_a_run_of_any_release_is_read(version: Any) -> None:
    data = {"version": version, **RUN, "lr": 0.001, "sparkle": 3, "rank": 10_000}
    request, dropped = read_stored(data)
    assert (request.learning_rate, request.rank) == (0.001, TrainRequest.model_fields["rank"].default)
    assert set(dropped) == {"sparkle", "rank"}


def test_a_run_without_a_name_is_none() -> None:
    with pytest.raises(BadInput, match="Name is needed"):
        read_stored({"data": "clips"})


def test_a_training_file_of_another_release_names_what_it_leaves_out(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('version = 7\nname = "a"\ndata = "clips"\nlr = 0.5\nsparkle = 1\n')
    request, dropped = read_config(config, {"steps": 3})
    assert (request.learning_rate, request.steps, dropped) == (0.5, 3, ("sparkle",))
    assert read_config(config, {"lr": 0.25})[0].learning_rate == 0.25


def test_a_training_file_written_by_hand_is_told_its_mistake(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('name = "a"\ndata = "clips"\nlearning_rat = 0.5\n')
    with pytest.raises(BadInput, match="did you mean learning_rate"):
        read_config(config, {})


def test_a_listed_run_of_another_release_keeps_its_settings(settings: Settings) -> None:
    folder = TrainingRuns(settings).folder("slow pans")
    folder.write("status", {"state": "stopped", "step": 3, "steps": 9})
    folder.write("request", {"version": 9, **RUN, "lr": 0.5, "sparkle": 1})
    request = TrainingRuns(settings).get("slow pans").request
    assert request is not None
    assert request.learning_rate == 0.5


def test_migrate_leaves_its_argument_alone() -> None:
    data = {"method": {"kind": "plain", "new": 1}, "old": 2}
    kept, dropped = migrate(GenerationRequest, data, 99)
    assert kept == {"method": {"kind": "plain"}}
    assert dropped == ("method.new", "old")
    assert data == {"method": {"kind": "plain", "new": 1}, "old": 2}


def test_meanings_that_changed_are_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "SCHEMA_VERSION", 3)
    doubled = {1: lambda values: {**values, "seed": values["seed"] * 2}, 2: lambda values: {**values, "fps": 9}}
    monkeypatch.setitem(migration.UPGRADES, "GenerationRequest", doubled)
    assert migrate(GenerationRequest, {"seed": 4}, 1)[0] == {"seed": 8, "fps": 9}
    assert migrate(GenerationRequest, {"seed": 4}, 2)[0] == {"seed": 4, "fps": 9}
    assert migrate(GenerationRequest, {"seed": 4}, 3)[0] == {"seed": 4}
