"""Faults of other people's packages: named, and never the app's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_ui.media.video import read_frames

from .conftest import FILM, HERE, QUICK, App


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    return App(tmp_path_factory.mktemp("app"), (HERE / "broken",))


def test_what_cannot_be_loaded_is_named_and_stops_nobody(app: App) -> None:
    found = {one["name"]: one for one in json.loads(app("doctor", "--json", code=1).stdout)["plugins"]}
    assert "a_package_that_nobody_has" in found["missing"]["trouble"]
    assert found["faulty"]["trouble"] == ""


def test_a_step_that_fails_fails_its_job_and_names_its_package(app: App, photo: Path) -> None:
    said = " ".join(app("generate", photo, *QUICK, "--post", "faulty", code=1).stderr.split())
    assert "Faulty failed (KeyError)" in said
    assert "broken 1.0" in said


@pytest.mark.slow
def test_a_step_that_runs_out_of_memory_costs_only_itself(app: App, photo: Path) -> None:
    path = app.folder / "kept.mp4"
    steps = ["--post", "boomerang", "--post", "greedy"]
    status = json.loads(app("generate", photo, "-o", path, *QUICK, *steps, "--json").stdout)
    assert status["state"] == "finished"
    assert len(read_frames(path)) == 2 * FILM - 2, "there and back, without the step that failed"
    assert any("Greedy" in note for note in status["notes"])
