"""What a Space's environment says, and what it does not prove."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from svd_ui.hosting import OAUTH, holds_a_history, on_zero_gpu, settle, signs_in, space_hosts


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*OAUTH, "SYSTEM", "SPACE_ID"):
        monkeypatch.setenv(name, "spaces" if name == "SYSTEM" else "something")
    return monkeypatch


def test_a_space_with_a_sign_in_has_it(space: pytest.MonkeyPatch) -> None:
    assert signs_in()


@pytest.mark.parametrize("name", [*OAUTH, "SYSTEM", "SPACE_ID"])
def test_where_gradio_would_pretend_a_sign_in_there_is_none(space: pytest.MonkeyPatch, name: str) -> None:
    space.delenv(name)
    assert not signs_in()


def test_a_space_is_known_by_all_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_HOST", "Olga-svd.hf.space, svd.example.org")
    assert space_hosts() == ["olga-svd.hf.space", "svd.example.org"]
    monkeypatch.delenv("SPACE_HOST")
    assert space_hosts() == []


@pytest.mark.parametrize(("value", "lent"), [("true", True), ("1", True), ("T", True), ("", False), ("false", False)])
def test_zero_gpu_is_told_as_its_package_reads_it(monkeypatch: pytest.MonkeyPatch, value: str, lent: bool) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert on_zero_gpu() is lent


def test_the_history_is_kept_where_something_is_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SVD_UI_DATA_DIR", raising=False)
    monkeypatch.setenv("SVD_UI_MAX_SECONDS", "60")
    monkeypatch.delenv("SVD_UI_DEVICES", raising=False)
    settle({"SVD_UI_MAX_SECONDS": "900", "SVD_UI_DEVICES": "cpu"}, [tmp_path / "none", tmp_path])
    assert os.environ["SVD_UI_DATA_DIR"] == str(tmp_path / "svd-ui")
    assert (os.environ["SVD_UI_MAX_SECONDS"], os.environ["SVD_UI_DEVICES"]) == ("60", "cpu")
    assert list(tmp_path.iterdir()) == [], "the probe stayed behind"


def test_without_a_mount_the_log_says_that_nothing_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SVD_UI_DATA_DIR", raising=False)
    settle({}, [tmp_path / "none"])
    assert "SVD_UI_DATA_DIR" not in os.environ
    assert "ends with this Space's next restart" in capsys.readouterr().out
    monkeypatch.setenv("SVD_UI_DATA_DIR", "/somewhere")
    settle({}, [tmp_path])
    assert os.environ["SVD_UI_DATA_DIR"] == "/somewhere"


def test_a_mount_that_cannot_hold_a_database_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As some mounted stores: files are there, locks or shared memory are not."""

    def connect(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("locking protocol")

    assert holds_a_history(tmp_path)
    monkeypatch.setattr("svd_ui.hosting.sqlite3.connect", connect)
    assert not holds_a_history(tmp_path)
