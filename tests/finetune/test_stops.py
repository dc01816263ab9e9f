"""That a run is to stop is a row: what happens to folders does not touch it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from svd_ui.errors import BadInput, DiskFull
from svd_ui.finetune.runs import RunFolder
from svd_ui.finetune.stops import FILE, Stops


def test_a_wish_is_one_runs_own_and_lasts_until_it_is_forgotten(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    assert not one.asked_to_stop
    assert not (tmp_path / FILE).exists(), "looking writes nothing"
    one.ask_to_stop()
    one.ask_to_stop()
    assert (RunFolder(tmp_path / "one").asked_to_stop, other.asked_to_stop) == (True, False)
    other.begin()
    assert one.asked_to_stop
    one.begin()
    assert not one.asked_to_stop


def test_who_cleans_up_a_runs_folder_does_not_take_the_wish_away(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "mine")
    folder.root.mkdir()
    folder.ask_to_stop()
    assert not list(folder.root.iterdir())
    folder.root.rmdir()
    assert folder.asked_to_stop


@pytest.mark.parametrize("damage", [b"no database" * 200, b""])
def test_a_damaged_file_hides_nothing_and_takes_new_wishes(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    stops = Stops(tmp_path)
    assert not stops.asked("mine")
    stops.ask("mine")
    assert stops.asked("mine")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        Stops(tmp_path).ask("mine")
    assert not Stops(tmp_path).asked("mine")


def test_a_full_disk_is_said_and_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = Stops(tmp_path)
    stops.ask("other")

    def full(self: Stops) -> sqlite3.Connection:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(Stops, "_open", full)
    with pytest.raises(DiskFull):
        stops.ask("mine")
    assert not stops.asked("other")
