"""backup and restore as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.settings import Settings
from tests.cli.conftest import Run


def test_a_clip_goes_into_a_file_and_comes_back(run: Run, photo: Path, tmp_path: Path, settings: Settings) -> None:
    assert run("generate", photo, "-o", tmp_path / "clip.mp4", "--quiet").exit_code == 0
    made = run("backup", tmp_path / "a.tar.gz")
    assert made.exit_code == 0, made.stderr
    assert ": 1 clip, " in made.stdout
    checked = run("restore", tmp_path / "a.tar.gz", "--into", tmp_path / "there", "--dry-run")
    assert checked.stdout.startswith("The backup is whole: 1 job, ")
    assert not (tmp_path / "there").exists()
    assert run("restore", tmp_path / "a.tar.gz", "--into", tmp_path / "there").stdout.startswith("Restored into ")
    again = run("restore", tmp_path / "a.tar.gz", "--into", tmp_path / "there")
    assert (again.exit_code, "is not empty" in again.stderr) == (2, True)
    forced = run("restore", tmp_path / "a.tar.gz", "--into", tmp_path / "there", "--force")
    assert "What was there before is in" in forced.stdout


def test_rows_in_postgresql_are_said_to_be_elsewhere(
    run: Run, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "is_shared", True, raising=False)
    done = run("backup", tmp_path / "a.tar")
    assert done.exit_code == 0
    assert "pg_dump" in done.stderr


def test_what_is_left_out_is_named(run: Run, tmp_path: Path, settings: Settings) -> None:
    assert run("queue", "list").exit_code == 0
    settings.jobs_dir.mkdir(parents=True, exist_ok=True)
    (settings.jobs_dir / ".DS_Store").touch()
    done = run("backup", tmp_path / "a.tar")
    assert (done.exit_code, "Left out, because the app did not put it there: 'jobs/.DS_Store'." in done.stderr) == (
        0,
        True,
    )


@pytest.mark.parametrize("args", [("backup", "a.zip"), ("backup", "no/a.tar"), ("restore", "missing.tar")])
def test_what_cannot_be_done_is_one_sentence(run: Run, args: tuple[str, str], settings: Settings) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert done.stderr.startswith("svd-ui: ")
    assert "Traceback" not in done.stderr
