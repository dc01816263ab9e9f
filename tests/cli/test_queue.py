"""queue, run and history recover on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_ui.jobs.service import open_store
from svd_ui.settings import Settings
from tests.cli.conftest import Run
from tests.fakes import FakeEngine


@pytest.fixture
def waiting(run: Run, photo: Path, settings: Settings) -> list[str]:
    """The ids of three waiting jobs, seeds 1 to 3, in order."""
    from svd_ui.assets import Assets
    from svd_ui.request import GenerationRequest

    image = Assets.of(settings).add(photo).ref
    with open_store(settings) as store:
        requests = [GenerationRequest(image=image, seed=seed, checkpoint="local:little") for seed in (1, 2, 3)]
        return [store.submit(request, "ann", name="a boat").id for request in requests]


def order(run: Run) -> list[int]:
    return [job["request"]["seed"] for job in json.loads(run("queue", "list", "--json").stdout)["jobs"]]


def test_the_queue_is_listed_and_arranged(run: Run, waiting: list[str]) -> None:
    assert run("queue", "move", waiting[2][:8], "--first").exit_code == 0
    assert order(run) == [3, 1, 2]
    assert run("queue", "move", waiting[2], "--after", waiting[0]).exit_code == 0
    assert run("queue", "skip", waiting[0]).exit_code == 0
    assert order(run) == [3, 2, 1]
    lines = run("queue", "list").stdout.splitlines()
    assert lines[0].split()[:3] == ["1", waiting[2], "queued"]
    for wrong in (("move", waiting[0]), ("move", "zz", "--first"), ("skip",)):
        assert run("queue", *wrong).exit_code == 2


def test_a_pause_is_there_until_it_is_resumed(run: Run, waiting: list[str]) -> None:
    assert "Paused" in run("queue", "pause").stdout
    assert run("queue", "list").stdout.startswith("Paused.")
    assert "Continuing" in run("queue", "resume").stdout
    assert not json.loads(run("queue", "list", "--json").stdout)["paused"]


def test_an_exported_queue_is_checked_and_made_headless(
    run: Run, waiting: list[str], engine: FakeEngine, tmp_path: Path
) -> None:
    assert "3 jobs are in" in run("queue", "export", tmp_path / "q.zip").stdout
    (tmp_path / "clips").mkdir()
    dry = run("run", tmp_path / "q.zip", "--dry-run", "-o", tmp_path / "clips")
    assert dry.exit_code == 0, dry.output
    assert "2 of 3: local:little" in dry.stdout
    assert engine.calls == []
    done = run("run", tmp_path / "q.zip", "-o", tmp_path / "clips", "--json")
    assert done.exit_code == 0, done.output
    assert [call.seed for call in engine.calls] == [1, 2, 3]
    assert len(list((tmp_path / "clips").glob("*.mp4"))) == 3


def test_one_job_that_cannot_be_made_does_not_stop_the_others(
    run: Run, waiting: list[str], settings: Settings, engine: FakeEngine, tmp_path: Path
) -> None:
    with open_store(settings) as store, store._database.write() as sql:
        sql.execute(
            "UPDATE jobs SET request = replace(request, 'local:little', 'local:gone') WHERE id = ?", (waiting[1],)
        )
    run("queue", "export", tmp_path / "q.zip")
    done = run("run", tmp_path / "q.zip", "-q")
    assert done.exit_code != 0
    assert "local:gone" in done.stderr
    assert [call.seed for call in engine.calls] == [1, 3]
    assert run("run", tmp_path / "nothing.zip").exit_code == 2


def test_a_damaged_history_is_rebuilt_from_the_clips(run: Run, photo: Path, settings: Settings) -> None:
    for seed in (1, 2):
        assert run("generate", photo, "--seed", seed).exit_code == 0
    before = json.loads(run("history", "--json").stdout)
    for path in settings.data_dir.glob("svd_ui.sqlite3-*"):
        path.unlink()
    settings.history_file.write_bytes(b"this was a database once" * 500)
    broken = run("history")
    assert broken.exit_code == 1
    assert "history recover" in broken.stderr
    assert "Traceback" not in broken.output
    recovered = run("history", "recover")
    assert recovered.exit_code == 0, recovered.output
    assert "2 clips are in the history again." in recovered.stdout
    (kept,) = settings.data_dir.glob("svd_ui.sqlite3.*.kept")
    assert kept.read_bytes().startswith(b"this was a database once")
    after = json.loads(run("history", "--json").stdout)
    for name in ("id", "video", "state"):
        assert [job[name] for job in after] == [job[name] for job in before]
    assert [job["request"]["seed"] for job in after] == [2, 1]
