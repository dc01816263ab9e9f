"""A draft wall as a job: its files, its records, and the full clip of one tile."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from svd_ui.errors import NotFound
from svd_ui.jobs import Job, file_of, in_full
from svd_ui.jobs.service import JobService
from svd_ui.media.sheet import SHEET_SIDE
from svd_ui.media.video import read_frames
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from svd_ui.settings_tag import open_settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Clock, Serve, Stepping, ended, until


@pytest.fixture
def wall(request_: GenerationRequest) -> GenerationRequest:
    return request_.model_copy(update={"wall": Wall(seeds=2, motion_bucket_ids=(40, 200)), "speed": "draft"})


def made(service: JobService, request: GenerationRequest) -> Job:
    job = ended(service, service.submit(request, "ann"))
    assert job.state == "finished", job.error
    return job


def test_a_wall_is_one_job_with_a_file_for_each_tile(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall)
    assert job.result is not None
    assert [(tile.seed, tile.motion_bucket_id) for tile in job.result.tiles] == [(7, 40), (7, 200), (8, 40), (8, 200)]
    for index in range(4):
        path = service.file(job, file_of(index))
        assert path is not None
        assert len(read_frames(path)) == 4
        inside = open_settings(path).request
        assert (inside.wall, inside.seed) == (None, 7 + index // 2)
    assert service.file(job, "video") is None
    for name in ("poster", "preview"):
        with Image.open(service.file(job, name)) as sheet:
            assert max(sheet.size) <= SHEET_SIDE


@pytest.mark.parametrize(
    "name", ["tile-4", "tile--1", "tile-", "tile-0x", "tile-1/../0", "tile-00.mp4", "tiles", "request", "tile-\u0661"]
)
def test_other_names_are_no_files(serve: Serve, wall: GenerationRequest, name: str) -> None:
    service = serve(FakeEngine(delay=0.001))
    assert service.file(made(service, wall), name) is None


def test_a_stored_name_that_leads_elsewhere_is_not_followed(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall)
    assert job.result is not None
    bad = job.result.tiles[0].model_copy(update={"video": "../../svd_ui.sqlite3"})
    forged = job.model_copy(update={"result": job.result.model_copy(update={"tiles": (bad,)})})
    assert service.file(forged, "tile-0") is None


def test_one_tile_in_full_is_an_ordinary_exact_request_of_its_seed_and_motion(
    serve: Serve, wall: GenerationRequest
) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall.model_copy(update={"output_format": "gif"}))
    full = in_full(job, 2)
    assert (full.wall, full.speed, full.seed, full.motion_bucket_id) == (None, "exact", 8, 40)
    assert full.num_inference_steps is None  # as it was asked for, not as the draft filled it in
    assert (full.image, full.output_format, full.num_frames) == (wall.image, "gif", 4)
    clip = made(service, full)
    assert clip.result is not None
    assert (clip.result.tiles, service.file(clip, "video") is not None) == ((), True)
    with pytest.raises(NotFound):
        in_full(job, 4)
    with pytest.raises(NotFound):
        in_full(clip, 0)


def test_a_prompts_wall_keeps_its_still_for_the_full_clip(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall.model_copy(update={"image": None, "prompt": "a fox", "negative_prompt": "snow"}))
    assert job.result is not None
    full = in_full(job, 3)
    assert (full.image, full.prompt, full.negative_prompt) == (job.result.image, None, None)


def test_deleting_hides_the_tiles_and_then_removes_them(
    serve: Serve, wall: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall)
    path = service.file(job, "tile-1")
    assert isinstance(path, Path)
    service.delete(job.id, "ann")
    assert service.undelete(job.id, "ann").result == job.result
    assert service.file(service.get(job.id), "tile-1") == path
    service.delete(job.id, "ann")
    service._housekeeping.purge(float("inf"))
    assert not path.exists()


def test_retrying_a_wall_makes_the_same_wall(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall.model_copy(update={"seed": None}))
    again = ended(service, service.retry(job.id, "ann"))
    assert again.result is not None
    assert job.result is not None
    assert again.result.tiles == job.result.tiles
    assert [entry.id for entry in service.history("ann")] == [again.id, job.id]


def test_a_still_for_a_wall_is_one_still(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(delay=0.001))
    asked = wall.model_copy(update={"image": None, "prompt": "a fox"})
    still = ended(service, service.submit(asked, "ann", "still"))
    assert (still.state, still.request.wall) == ("finished", None)


def test_a_wall_of_another_release_is_read_without_what_is_not_known(
    serve: Serve, settings: Settings, wall: GenerationRequest
) -> None:
    service = serve(FakeEngine(delay=0.001))
    job = made(service, wall)
    with service._database.write() as sql:
        row = sql.execute("SELECT result, request FROM jobs").fetchone()
        newer = json.loads(row["result"])
        for tile in newer["tiles"]:
            tile["sound"] = "birds.mp3"
        asked = json.loads(row["request"])
        asked["wall"] |= {"cameras": 2}
        sql.execute("UPDATE jobs SET result = ?, request = ?", (json.dumps(newer), json.dumps(asked)))
    read = service.get(job.id)
    assert read.request.wall == wall.wall
    assert any("wall.cameras" in sentence(note) for note in read.notes)
    assert read.result is not None
    assert [tile.seed for tile in read.result.tiles] == [7, 7, 8, 8]
    assert read.result.poster == "poster.jpg"


def test_a_wall_is_expected_to_take_longer_than_one_clip(
    serve: Serve, request_: GenerationRequest, wall: GenerationRequest, clock: Clock
) -> None:
    service = serve(Stepping(clock, delay=0.02))
    made(service, request_)
    one = service.estimate(request_).seconds
    four = service.estimate(wall.model_copy(update={"speed": "exact"})).seconds
    assert one is not None
    assert four is not None
    assert 2 * one < four


def test_a_tile_is_cancelled_while_its_wall_waits_or_runs(serve: Serve, wall: GenerationRequest) -> None:
    engine = FakeEngine(steps=2, delay=0.0, gate=threading.Event())
    service = serve(engine)
    running, waiting = service.submit(wall, "ann"), service.submit(wall, "ann")
    until(lambda: service.get(running.id).state == "conditioning")
    for job, tile in ((running, 2), (waiting, 0), (waiting, 3)):
        service.queue.leave_out(job.id, tile, "ann")
    for id, tile, owner in ((running.id, 4, "ann"), (running.id, -1, "ann"), (running.id, 0, "bob")):
        with pytest.raises(NotFound):
            service.queue.leave_out(id, tile, owner)
    engine.gate.set()  # type: ignore[union-attr]
    first, second = (ended(service, job).result for job in (running, waiting))
    assert first is not None
    assert second is not None
    assert [(tile.seed, tile.motion_bucket_id) for tile in first.tiles] == [(7, 40), (7, 200), (8, 200)]
    assert [tile.video for tile in second.tiles] == ["tile-01.mp4", "tile-02.mp4"]
    folder = service.settings.jobs_dir / waiting.id
    assert {path.name for path in folder.glob("tile-*")} == {"tile-01.mp4", "tile-02.mp4"}
    assert in_full(service.get(waiting.id), 1).seed == 8
    with pytest.raises(NotFound):
        service.queue.leave_out(waiting.id, 1, "ann")


def test_without_its_last_tile_a_wall_is_cancelled(serve: Serve, wall: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=2, delay=0.0, gate=threading.Event()))
    running, waiting = service.submit(wall, "ann"), service.submit(wall, "ann")
    until(lambda: service.get(running.id).state == "conditioning")
    for job in (waiting, running):  # the other way round it would have its turn meanwhile
        for tile in range(4):
            service.queue.leave_out(job.id, tile)
    assert service.get(waiting.id).state == "cancelled"
    assert ended(service, running).state == "cancelled"


def test_a_wall_has_at_least_one_tile_and_no_others_than_its_own() -> None:
    for without in ((0, 1), (2,)):
        with pytest.raises(ValueError, match="Tiles not to make"):
            Wall(seeds=1, motion_bucket_ids=(40, 200), without=without)
