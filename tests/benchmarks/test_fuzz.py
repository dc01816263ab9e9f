"""The short form of ``benchmarks/fuzz`` for files that lie on a disk: whatever they hold, their door says a sentence or takes them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.fuzz import archives, clips, doors
from svd_ui.settings import Settings


@pytest.mark.parametrize("door", archives.ON_DISK)
def test_hostile_files_are_taken_or_refused_in_a_sentence(door: str, tmp_path: Path) -> None:
    settings, chance = Settings(_env_file=None, data_dir=tmp_path / "data"), random.Random(5)
    passed = [doors.through(door, archives.ON_DISK[door](chance), settings) for _ in range(20)]
    assert [one.fault for one in passed if one.fault] == []


@pytest.mark.parametrize("door", ["settings", "clips"])
def test_hostile_clips_are_taken_or_refused_in_a_sentence(door: str, tmp_path: Path) -> None:
    settings, chance = Settings(_env_file=None, data_dir=tmp_path / "data"), random.Random(6)
    passed = [doors.through(door, clips.clip(chance), settings, chance.choice(clips.ENDINGS)) for _ in range(12)]
    assert [one.fault for one in passed if one.fault] == []
    assert any(one.said for one in passed)


def test_a_door_that_breaks_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, settings: Settings) -> None:
        raise KeyError("x")

    monkeypatch.setitem(doors.DOORS, "queue", doors.Door("incoming/queue.zip", broken))
    assert "KeyError" in doors.through("queue", b"", Settings(_env_file=None, data_dir=tmp_path)).fault
