"""queue, run and history recover on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_ui.errors import Cancelled
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


def test_an_interrupt_ends_the_whole_queue(run: Run, waiting: list[str], engine: FakeEngine, tmp_path: Path) -> None:
    run("queue", "export", tmp_path / "q.zip")
    engine.fail = Cancelled()  # as Ctrl+C ends the clip that is made
    done = run("run", tmp_path / "q.zip", "-q")
    assert done.exit_code == 130
    assert len(engine.calls) == 1


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


def test_a_waiting_job_is_edited_by_the_flags_of_generate(run: Run, waiting: list[str], settings: Settings) -> None:
    done = run("queue", "edit", waiting[1][:8], "--motion-bucket-id", "90", "--num-frames", 5, "--post", "boomerang")
    assert done.exit_code == 0, done.output
    with open_store(settings) as store:
        before, after = store.get(waiting[0]).request, store.get(waiting[1]).request
    assert (after.motion_bucket_id, after.num_frames, after.seed) == (90, 5, 2)
    assert [step.kind for step in after.post] == ["boomerang"]
    assert (after.image, after.checkpoint) == (before.image, before.checkpoint)
    assert order(run) == [1, 2, 3]
    for wrong in (("--motion-bucket-id", "900"), ("--checkpoint", "nothing"), ()):
        assert run("queue", "edit", waiting[1], *wrong).exit_code == 2
    assert run("queue", "edit", "zz", "--seed", 4).exit_code == 2
    with open_store(settings) as store:
        assert store.get(waiting[1]).request == after
        store.cancel(waiting[1])
    assert run("queue", "edit", waiting[1], "--seed", 4).exit_code == 2


def test_an_edited_job_may_get_another_picture_in_its_shape(
    run: Run, waiting: list[str], settings: Settings, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (90, 160), "#446688").save(tmp_path / "tall.png")
    assert run("queue", "edit", waiting[0], "--image", tmp_path / "tall.png").exit_code == 0
    with open_store(settings) as store:
        job, other = store.get(waiting[0]), store.get(waiting[1])
    assert (job.name, other.name) == ("tall.png", "a boat")
    assert job.request.image != other.request.image
    assert (job.request.height or 0) > (job.request.width or 0)


def test_clips_asked_for_together_say_which_one_each_is(run: Run, waiting: list[str], settings: Settings) -> None:
    with open_store(settings) as store:
        request = store.get(waiting[0]).request
        for seed in (5, 6):
            store.submit(request.model_copy(update={"seed": seed}), "ann", batch="b" * 32)
    lines = run("queue", "list").stdout.splitlines()
    assert [line.split("local:little")[1].strip() for line in lines if "seed 5" in line or "seed 6" in line] == [
        "1 of 2",
        "2 of 2",
    ]
    told = json.loads(run("queue", "list", "--json").stdout)["jobs"]
    assert [job.get("batch", {}).get("place") for job in told] == [None, None, None, 1, 2]


def test_a_job_a_tile_or_everything_is_cancelled(run: Run, waiting: list[str], settings: Settings) -> None:
    from svd_ui.request import Wall

    assert run("queue", "cancel", waiting[0][:8]).exit_code == 0
    assert order(run) == [2, 3]
    with open_store(settings) as store:
        wall = Wall(seeds=2, motion_bucket_ids=(40, 200))
        store.queue.edit(waiting[1], store.get(waiting[1]).request.model_copy(update={"wall": wall}))
    assert run("queue", "cancel", waiting[1], "--tile", 2).exit_code == 0
    with open_store(settings) as store:
        assert store.get(waiting[1]).request.wall == wall.model_copy(update={"without": (1,)})
    for wrong in ((), (waiting[1], "--all"), ("--all", "--tile", 1), (waiting[2], "--tile", 1)):
        assert run("queue", "cancel", *wrong).exit_code != 0
    assert run("queue", "cancel", "--all").exit_code == 0
    assert order(run) == []
