"""A job whose worker or app died waits again by itself, in its old place, and goes on; the second death in one place is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from svd_ui.catalog import nano_row
from svd_ui.engine import CancelToken, progress
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.progress import KEPT, Progress
from svd_ui.errors import DiskFull, HistoryUnreachable, WorkerStopped
from svd_ui.events import Denoising, Event, Finished, Loading, Result, Tile
from svd_ui.jobs import job_run, slot
from svd_ui.jobs.leases import Lease
from svd_ui.jobs.recording import Recorder
from svd_ui.jobs.service import JobService, open_store
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, ended, until


class Dying(FakeEngine):
    """Its worker dies after each of these steps, once each; 0 is before the first."""

    def __init__(self, *after: int, **values: Any) -> None:
        super().__init__(steps=4, delay=0.0, **values)
        self.after = list(after)

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        deadly = self.after.pop(0) if self.after else None
        for event in super().generate(request, out, cancel):
            yield event
            step = event.step if isinstance(event, Denoising) else 0 if isinstance(event, Loading) else None
            if step is not None and step == deadly:
                raise WorkerStopped(reason="killed by SIGKILL, probably out of memory")


def test_a_job_whose_worker_died_goes_on_by_itself_before_what_waits(serve: Serve, request_: GenerationRequest) -> None:
    engine = Dying(2)
    service = serve(engine)
    first, second = service.submit(request_, "ann"), service.submit(request_.model_copy(update={"seed": 8}), "ann")
    assert ended(service, second).state == "finished"
    assert service.get(first.id).state == "finished"
    assert [call.seed for call in engine.calls] == [7, 7, 8]


@pytest.mark.parametrize(
    ("deaths", "said"),
    [((2, 2), "after step 2 of 4"), ((3, 2, 1), "after step 1 of 4"), ((0, 0), "before its first step")],
)
def test_a_second_death_without_headway_fails_with_its_reason(
    serve: Serve, request_: GenerationRequest, deaths: tuple[int, ...], said: str
) -> None:
    service = serve(Dying(*deaths))
    job = ended(service, service.submit(request_, "ann"))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "died_again"
    assert f"It stopped again {said} (killed by SIGKILL, probably out of memory). Try again." in job.message
    assert ended(service, service.retry(job.id, "ann")).state == "finished"


def test_deaths_further_on_each_time_do_not_fail_it(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(Dying(0, 1, 0, 2, 3))
    assert ended(service, service.submit(request_, "ann")).state == "finished"


def test_a_cancel_asked_meanwhile_wins(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        job = store.submit(request_, "ann")
        store._store.claim("gone", ("clip",))
        store.cancel(job.id)
        store._housekeeping.reap()
        assert store.get(job.id).state == "cancelled"


def test_closing_puts_what_runs_back_and_the_next_start_goes_on(
    settings: Settings, request_: GenerationRequest
) -> None:
    for _ in range(3):  # to stop an app as often as one likes is no death
        service = JobService(settings, FakeEngine(steps=100, delay=0.5))
        service.start()
        job = service.history()[0] if service.history() else service.submit(request_, "ann")
        until(lambda: service.get(job.id).state == "denoising")  # noqa: B023
        service.close()
        with open_store(settings) as store:
            assert store.get(job.id).state == "queued"
            assert store.get(job.id).position == 0
            assert store.get(job.id).message == "Stopped here. Continues by itself."


def test_a_job_of_a_killed_command_line_ends(settings: Settings, request_: GenerationRequest) -> None:
    """Whoever waited for it is gone; trying again goes on from what is kept."""
    engine = FakeEngine(steps=3)
    with JobService(settings, engine, slots=False, role="cli") as service:
        running = service.run_inline(request_, "cli")
        job = next(running)
        with service._database.write() as sql:
            sql.execute("UPDATE jobs SET process = 'gone'")
        service._housekeeping.reap()
        assert service.get(job.id).state == "interrupted"
        (settings.jobs_dir / job.id / KEPT).mkdir(parents=True)
        again = service.retry(job.id, "ann")
        assert (settings.jobs_dir / again.id / KEPT).is_dir()


def test_a_clip_that_is_complete_is_finished_and_not_made_again(
    settings: Settings, serve: Serve, request_: GenerationRequest, tmp_path: Path
) -> None:
    with open_store(settings) as store:
        job = store.submit(request_, "ann")
        folder = settings.jobs_dir / job.id
        last = list(FakeEngine(steps=1, settings=settings).generate(job.request, folder, threading.Event()))[-1]
        assert isinstance(last, Finished)
        Progress(folder).keep_result(job.request, last.result)
    engine = FakeEngine()
    service = serve(engine)
    assert ended(service, job).result == last.result
    assert engine.calls == []
    until(lambda: not (folder / KEPT).exists())


def test_kept_files_go_with_the_end_of_their_job(serve: Serve, settings: Settings, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=100, delay=0.5))
    job = service.submit(request_, "ann")
    until(lambda: service.get(job.id).state == "denoising")
    kept = settings.jobs_dir / job.id / KEPT
    kept.mkdir()
    service.cancel(job.id)
    assert ended(service, job).state == "cancelled"
    until(lambda: not kept.exists())
    kept.mkdir()  # by an app that was killed before it came to that
    service._housekeeping.sweep_kept(service.get(job.id).ended + 1)  # type: ignore[operator]
    assert not kept.exists()


def test_a_disk_that_fills_is_told_within_ten_seconds_and_the_job_goes_on_with_room(
    serve: Serve, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**9]
    for module in (job_run, slot):
        monkeypatch.setattr(module, "room", lambda folder: free[0])
    for name in ("FULL_SECONDS", "DISK_POLL_SECONDS"):
        assert getattr(job_run, name) <= 5
        monkeypatch.setattr(job_run, name, 0.1)
    engine = FakeEngine(steps=100, delay=0.3)
    service = serve(engine)
    job = service.submit(request_, "ann")
    until(lambda: service.get(job.id).step == 1)
    free[0] = 0
    until(lambda: service.get(job.id).state == "queued")
    assert service.get(job.id).message == "The disk is full. Continues by itself when there is room."
    time.sleep(0.7)
    assert len(engine.calls) == 1
    free[0] = 10**9
    until(lambda: len(engine.calls) == 2)
    service.cancel(job.id)


def test_a_clip_that_finds_no_room_twice_fails_with_the_sentence(serve: Serve, request_: GenerationRequest) -> None:
    """A quota, say: the disk looks as if there was room."""
    service = serve(FakeEngine(steps=1, delay=0.0, fail=DiskFull()))
    job = ended(service, service.submit(request_, "ann"))
    assert job.error is not None
    assert job.error["code"] == "disk_full"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import save_tiny_svd

    return save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")


class Mortal:
    """The real engine, whose worker dies at a step; each life is another engine."""

    def __init__(self, settings: Settings, after: int) -> None:
        self.settings, self.after = settings, [after]

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        deadly = self.after.pop() if self.after else None
        for event in LocalEngine(self.settings, "cpu").generate(request, out, cancel):
            yield event
            if isinstance(event, Denoising) and event.step == deadly:
                raise WorkerStopped(reason="killed")

    def __getattr__(self, name: str) -> Any:
        return getattr(FakeEngine(), name)


def test_a_real_clip_goes_on_says_so_and_is_the_same(
    settings: Settings, serve: Serve, request_: GenerationRequest, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "KEEP_SECONDS", 0.0)
    here = settings.model_copy(update={"checkpoint_dirs": str(tiny)})
    service = serve(Mortal(here, 3), here)
    request = request_.model_copy(update={"checkpoint": "local:tiny"})
    first, second = (ended(service, service.submit(request, "ann")) for _ in range(2))
    assert (first.state, second.state) == ("finished", "finished"), (first.message, second.message)
    assert "Went on from step 3 of 4." in [sentence(note) for note in first.notes]
    one, two = (load_file(settings.jobs_dir / job.id / "latents.safetensors")["latents"] for job in (first, second))
    assert (one == two).all()
    files = [(settings.jobs_dir / job.id / "clip.mp4").read_bytes() for job in (first, second)]
    assert files[0] == files[1]


def test_a_run_speaks_for_itself_alone_though_its_process_has_the_clip_again(
    settings: Settings, request_: GenerationRequest
) -> None:
    """A page that was taken for dead goes on, and its other device claims what another page put back."""
    with open_store(settings) as store:
        id, rows = store.submit(request_, "ann").id, store._store
        first = rows.claim("p", ("clip",))
        rows.waitlist.put_back("p", id)
        second = rows.claim("p", ("clip",))
        assert first is not None and second is not None and first["started"] != second["started"]
        before, now = first["started"], second["started"]
        assert not rows.update(id, "p", before, state="denoising", step=1)
        assert rows.waitlist.why_stop(id, "p", before) == "cancelled"
        assert rows.waitlist.put_back("p", id, None, before) == []
        assert not rows.settle(id, "p", before, state="cancelled", ended=1.0)
        assert rows.waitlist.why_stop(id, "p", now) == ""
        assert rows.update(id, "p", now, state="denoising", step=1)
        assert store.get(id).state == "denoising"


def test_who_only_lost_its_lease_died_of_nothing(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        id = store.submit(request_, "ann").id
        for _ in range(4):
            assert store._store.claim("a process without a lease", ("clip",)) is not None
            store._housekeeping.reap()
            assert store.get(id).state == "queued"
        assert store._store.row(id)["stalled"] == 0


def test_sweeping_a_large_folder_keeps_no_lease_from_beating(settings: Settings) -> None:
    with open_store(settings) as store:
        lease, ended = Lease(store._database, "server", seconds=0.4), threading.Event()
        lease.start(lambda: ended.wait(30) and None)
        try:
            time.sleep(1.0)
            with open_store(settings) as other:
                watching = Lease(other._database, "server", seconds=0.4)
                watching.expired()
                time.sleep(0.8)
                assert lease.id not in watching.expired()
        finally:
            ended.set()
            lease.close()


def test_a_wall_that_ends_while_the_database_is_away_is_finished(
    settings: Settings, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> frozenset[int]:
        raise HistoryUnreachable(address="db", reason="away")

    with open_store(settings) as store:
        wall = request_.model_copy(update={"wall": Wall(seeds=1, motion_bucket_ids=(30, 90)), "seed": 7})
        id = store.submit(wall, "ann").id
        assert store._store.claim("p", ("clip",)) is not None
        tiles = tuple(Tile(seed=7, motion_bucket_id=motion, video=f"{motion}.mp4") for motion in (30, 90))
        recorder = Recorder(store._store, id, "p", settings.jobs_dir / id, None, lambda _: None, lambda _: nano_row())
        monkeypatch.setattr("svd_ui.jobs.recording.without", away)
        recorder.record(Finished(result=Result(request=wall, image=str(wall.image), tiles=tiles)))
        assert store.get(id).state == "finished"
        assert store.get(id).result is not None and store.get(id).result.tiles == tiles  # type: ignore[union-attr]
