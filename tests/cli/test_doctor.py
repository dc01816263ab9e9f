"""``python -m svd_ui doctor`` as people use it: its exit code, --fix, and what it looks like on a narrow console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_ui.settings import Settings
from tests.cli.conftest import Run
from tests.fakes import FakeEngine


class FakeWorker(FakeEngine):
    """The engine that stands where doctor starts a worker."""

    trouble, pid = "", 1

    def start(self) -> None:
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svd_ui.engine.worker.WorkerEngine", lambda settings, device: FakeWorker(settings=settings))


def test_the_exit_code_says_whether_something_is_wrong(
    run: Run,
    worker: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SVD_UI_TEXT_TO_IMAGE")
    healthy = run("doctor", "--json")
    facts = json.loads(healthy.stdout)
    assert [finding for finding in facts["findings"] if finding["wrong"]] == []
    assert healthy.exit_code == 0
    monkeypatch.setenv("SVD_UI_MAX_QUEUE", "many")
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path / "elsewhere"))
    wrong = run("doctor", "--fix")
    assert wrong.exit_code == 1
    assert "1. SVD_UI_MAX_QUEUE cannot be used" in wrong.stdout
    assert "Made the folder" in wrong.stdout
    again = json.loads(run("doctor", "--fix", "--json").stdout)
    assert again["fixed"] == []
    assert len(again["left"]) == 1


def test_at_80_columns_nothing_is_cut(
    run: Run,
    worker: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("SVD_UI_FLAVOUR", "x")
    monkeypatch.setenv("SVD_UI_TEXT_TO_IMAGE", "/nowhere/" + "long" * 30)
    text = run("doctor").stdout
    for name in Settings.model_fields:
        assert f"SVD_UI_{name.upper()}=" in text
    tail = text[text.index("Settings") :]
    assert "…" not in tail
    assert "-> Remove it" in tail


def test_a_command_to_run_is_never_broken_into_lines(
    run: Run,
    worker: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("SVD_UI_CHECKPOINT", "svd-xt")
    assert " -m svd_ui models download svd-xt\n" in run("doctor").stdout
