"""A disk that is full, may not be written to, or is taken away: one sentence each, and nothing of what was there is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import Result

from svd_ui.settings import Settings

from .conftest import Run


@pytest.fixture
def disk(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A real one of 2 MB, which takes rights that not everybody has."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(place / "data"))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def fill(disk: Path, leave: int = 0) -> Path:
    """All of it but ``leave`` bytes."""
    path = disk / "filler"
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(path, max(0, path.stat().st_size - leave))
    return path


def one_sentence(result: Result, code: int, said: str) -> None:
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert (result.exit_code, line.startswith("svd-ui: "), line.endswith(".")) == (code, True, True), result.output
    assert said in line
    assert "Traceback" not in result.output


def listed(run: Run) -> list[str]:
    return [job["id"] for job in json.loads(run("history", "--json").stdout)]


@pytest.mark.parametrize("leave", [0, 20_000, 60_000])
def test_a_full_disk_is_said_and_with_room_everything_is_as_it_was(
    run: Run, photo: Path, disk: Path, leave: int
) -> None:
    assert run("generate", photo).exit_code == 0
    before = listed(run)
    filler = fill(disk, leave)
    one_sentence(run("generate", photo, "--seed", 7), 1, "disk is full")
    filler.unlink()
    assert set(before) <= set(listed(run))
    assert run("generate", photo).exit_code == 0


def test_a_history_is_rebuilt_whole_or_not_at_all(run: Run, photo: Path, disk: Path) -> None:
    for seed in range(3):
        assert run("generate", photo, "--seed", seed).exit_code == 0
    (path,) = (disk / "data").glob("*.sqlite3")
    path.write_bytes(b"my notes")
    filler = fill(disk, 30_000)
    one_sentence(run("history", "recover"), 1, "disk is full")
    assert path.read_bytes() == b"my notes"
    assert [other.name for other in path.parent.glob("*.recovering*")] == []
    filler.unlink()
    assert "3 clips are in the history again" in run("history", "recover").stdout
    assert len(listed(run)) == 3


SERVE = pytest.param(("serve", "--no-open"), marks=pytest.mark.slow)


@pytest.mark.parametrize("command", [("history",), ("generate", "photo.jpg"), ("queue", "list"), SERVE])
def test_a_full_disk_where_nothing_was_yet(run: Run, photo: Path, disk: Path, command: tuple[str, ...]) -> None:
    fill(disk)
    one_sentence(run(*command), 1, "disk is full")


@pytest.mark.parametrize("command", [("history",), ("generate", "photo.jpg"), ("history", "recover"), SERVE])
@pytest.mark.parametrize("before", [False, True])
def test_a_folder_that_may_only_be_read(
    run: Run, photo: Path, disk: Path, before: bool, command: tuple[str, ...]
) -> None:
    if before:
        assert run("generate", photo).exit_code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    result = run(*command)
    one_sentence(result, result.exit_code, "cannot be")
    assert result.exit_code in (1, 2)
