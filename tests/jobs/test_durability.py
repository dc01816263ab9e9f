"""What survives: restarts, killed processes, other processes, damaged and full disks, other releases."""

from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from svd_ui.errors import DiskFull, HistoryNewer, HistoryUnusable, NotFound
from svd_ui.events import ENDED
from svd_ui.jobs.database import MIGRATIONS
from svd_ui.jobs.service import JobService, open_store, server_alive
from svd_ui.jobs.sqlite import SqliteDatabase
from svd_ui.jobs.store import open_database
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import PATIENCE, Serve, ended, sqlite_only, until

SERVER = """
    import sys, time
    from pathlib import Path
    from svd_ui.jobs.service import JobService
    from svd_ui.settings import Settings
    from tests.fakes import FakeEngine

    settings = Settings(data_dir=Path(sys.argv[1]), _env_file=None)
    service = JobService(settings, FakeEngine(steps=100, delay=0.5))
    service.start()
    time.sleep(600)
"""
SUBMITTER = """
    import sys
    from pathlib import Path
    from svd_ui.jobs.service import open_store
    from svd_ui.request import GenerationRequest
    from svd_ui.settings import Settings

    settings = Settings(data_dir=Path(sys.argv[1]), max_queue=1000, _env_file=None)
    with open_store(settings) as store:
        for _ in range(20):
            store.submit(GenerationRequest(image=sys.argv[2]), sys.argv[3])
"""


ENDING = """
    import sys, time
    from pathlib import Path
    from svd_ui.jobs.service import JobService
    from svd_ui.settings import Settings
    from svd_ui.web.ending import ending_in_order
    from tests.fakes import FakeEngine

    with ending_in_order(), JobService(
        Settings(data_dir=Path(sys.argv[1]), _env_file=None), FakeEngine(steps=100, delay=0.5)
    ) as service:
        service.start()
        time.sleep(600)
"""


ANOTHER_ROW = """
    INSERT INTO jobs (id, owner, kind, state, schema, request, created)
    VALUES (hex(randomblob(16)), 'ann', 'clip', 'finished', 1, '{}', 0)
"""


def fill(once: Callable[[], object]) -> None:
    for _ in range(10_000):
        once()


def python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})


def test_submitted_jobs_survive_a_restart(settings: Settings, serve: Serve, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        job = store.submit(request_, "ann")
    assert ended(serve(FakeEngine(steps=1, delay=0.0)), job).state == "finished"


def test_closing_puts_what_runs_back_and_keeps_what_waits(settings: Settings, request_: GenerationRequest) -> None:
    engine = FakeEngine(steps=100, delay=0.5)
    service = JobService(settings, engine)
    service.start()
    running, waiting = service.submit(request_, "ann"), service.submit(request_, "ann")
    until(lambda: service.get(running.id).state == "denoising")
    service.close()
    assert engine.closed
    with open_store(settings) as store:
        assert [store.get(job.id).state for job in (running, waiting)] == ["queued", "queued"]
        assert [store.get(job.id).position for job in (running, waiting)] == [0, 1]


def test_the_job_of_a_killed_process_waits_again_before_the_rest(
    settings: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    server = python(SERVER, settings.data_dir)
    try:
        with open_store(settings) as store:
            running, waiting = store.submit(request_, "ann"), store.submit(request_, "ann")
            until(lambda: store.get(running.id).state == "denoising")
            assert server_alive(settings)
            # Somebody else who looks, or begins to serve, does not disturb a live process.
            with open_store(settings) as other:
                assert other.get(running.id).state == "denoising"
            server.send_signal(signal.SIGKILL)
            server.wait()
            assert not server_alive(settings)
        service = serve(FakeEngine(steps=1, delay=0.0))
        assert ended(service, waiting).state == "finished"
        assert service.get(running.id).state == "finished"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_process_that_is_asked_to_end_puts_its_job_back_first(
    settings: Settings, request_: GenerationRequest, name: str
) -> None:
    if not hasattr(signal, name):
        pytest.skip("no such signal here")
    server = python(ENDING, settings.data_dir)
    try:
        with open_store(settings) as store:
            job = store.submit(request_, "ann")
            until(lambda: store.get(job.id).state == "denoising")
            started = time.monotonic()
            server.send_signal(getattr(signal, name))
            server.wait(PATIENCE)
            assert time.monotonic() - started < 10
            row = store._store.row(job.id)
            assert (row["state"], row["process"], row["reached"]) == ("queued", None, None)
    finally:
        server.kill()
        server.wait()


def test_a_silent_process_on_another_machine_expires_only_after_its_time(
    settings: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    service = serve(FakeEngine(gate=threading.Event()), lease_seconds=1.0)
    service.queue.pause()
    with open_store(settings) as store:
        job = store.submit(request_, "ann", "clip")
    started = time.monotonic()
    with closing(open_database(settings)) as database, database.write() as sql:
        sql.execute(
            "INSERT INTO processes (id, pid, host, role, heartbeat) VALUES ('far', 1, 'elsewhere', 'server', ?)",
            (time.time() - 1e6,),  # its clock is wrong: only silence counts
        )
        sql.execute("UPDATE jobs SET process = 'far', state = 'denoising' WHERE id = ?", (job.id,))
    until(lambda: service.get(job.id).state == "queued")
    assert time.monotonic() - started > 0.9


def test_cancel_reaches_a_job_in_another_process(settings: Settings, request_: GenerationRequest) -> None:
    server = python(SERVER, settings.data_dir)
    try:
        with open_store(settings) as store:
            job = store.submit(request_, "ann")
            until(lambda: store.get(job.id).state == "denoising")
            assert store.describe() is not None or until(store.describe)
            store.cancel(job.id)
            assert ended(store, job).state == "cancelled"
    finally:
        server.kill()
        server.wait()


def test_two_processes_and_eight_threads_submit_at_once(settings: Settings, request_: GenerationRequest) -> None:
    processes = [python(SUBMITTER, settings.data_dir, request_.image, owner) for owner in ("ann", "bob")]
    roomy = settings.model_copy(update={"max_queue": 1000})
    with JobService(roomy, slots=False, role="reader") as service:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: service.submit(request_, "eve"), range(40)))
        assert [process.wait(PATIENCE) for process in processes] == [0, 0]
        jobs = service.history(limit=1000)
        assert len({job.id for job in jobs}) == 80
        assert sorted(job.position for job in jobs if job.position is not None) == list(range(80))


def test_two_servers_never_run_the_same_job(settings: Settings, serve: Serve, request_: GenerationRequest) -> None:
    engines = [FakeEngine(steps=1, delay=0.0) for _ in range(2)]
    services = [serve(engine) for engine in engines]
    jobs = [services[0].submit(request_.model_copy(update={"seed": seed}), "ann") for seed in range(20)]
    assert all(ended(services[1], job).state == "finished" for job in jobs)
    assert sorted(call.seed or 0 for engine in engines for call in engine.calls) == list(range(20))


@sqlite_only
def test_a_damaged_history_is_an_error_and_stays_where_it_is(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True)
    settings.history_file.write_bytes(b"this was a database once" * 500)
    before = settings.history_file.read_bytes()
    with pytest.raises(HistoryUnusable, match="Nothing was deleted"):
        open_store(settings)
    assert settings.history_file.read_bytes() == before


@sqlite_only
def test_damage_in_the_middle_is_found_on_opening(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        for _ in range(30):
            store.submit(request_, "ann")
    data = bytearray(settings.history_file.read_bytes())
    data[4096:8192] = os.urandom(4096)
    settings.history_file.write_bytes(data)
    with pytest.raises(HistoryUnusable):
        open_store(settings)


@sqlite_only
def test_a_full_disk_refuses_the_new_job_and_keeps_the_history(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        kept = store.submit(request_, "ann")
        pages = store._database.read("PRAGMA page_count")[0][0]
        store._database._writer.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[union-attr]
        with pytest.raises(DiskFull):
            fill(lambda: store.submit(request_, "ann"))
        assert kept.id in {job.id for job in store.history(limit=1000)}
        assert store.cancel(kept.id).state == "cancelled"


@sqlite_only
def test_the_last_word_of_a_job_is_written_when_there_is_room_again(
    settings: Settings, serve: Serve, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    service = serve(FakeEngine(steps=2, delay=0.0, gate=gate), lease_seconds=1.0)
    job = service.submit(request_, "ann")
    until(lambda: service.get(job.id).state != "queued")
    writer = service._database._writer
    assert writer is not None
    with service._database._lock:  # the row's page is full too, so that the longer last word finds no room
        writer.execute("CREATE TABLE filler (text)")
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError):
            fill(lambda: writer.execute(ANOTHER_ROW))
    gate.set()
    until(lambda: "could not be recorded yet" in caplog.text)
    assert service.get(job.id).state not in ENDED
    with service._database._lock:
        writer.execute("PRAGMA max_page_count = 1000000")
    assert ended(service, job).state == "finished"


def test_rows_of_other_releases_are_read(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        job = store.submit(request_, "ann")
        values = {**json.loads(request_.model_dump_json()), "warp_drive": 9, "num_frames": 1000}
        result = {
            "request": values,
            "image": request_.image,
            "hologram": True,
            "effective": {"profile": "cpu", "era": 3},
        }
        with store._database.write() as sql:
            sql.execute(
                "UPDATE jobs SET schema = 99, state = 'teleporting', request = ?, result = ?, notes = 'not json' WHERE id = ?",
                (json.dumps(values), json.dumps(result), job.id),
            )
    with open_store(settings) as store:
        (seen,) = store.history()
        assert seen.state == "loading"
        assert seen.request.seed == 7
        assert seen.request.num_frames is None
        assert any("warp_drive" in sentence(note) for note in seen.notes)
        assert seen.result is not None


@sqlite_only
def test_a_history_of_a_newer_release_is_refused_and_left_as_it_is(settings: Settings) -> None:
    SqliteDatabase(settings.history_file).close()
    with closing(sqlite3.connect(settings.history_file)) as database:
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(HistoryNewer, match="newer release"):
        open_store(settings)
    assert not server_alive(settings)
    with closing(sqlite3.connect(settings.history_file)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == 999


@sqlite_only
def test_a_damaged_row_is_left_out_and_named(
    settings: Settings, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(settings) as store:
        jobs = [store.submit(request_, "ann") for _ in range(4)]
        with store._database.write() as sql:
            sql.execute("UPDATE jobs SET created = 'abc' WHERE id = ?", (jobs[0].id,))
            sql.execute("UPDATE jobs SET step = 'abc', schema = 'x', batch = x'ff' WHERE id = ?", (jobs[1].id,))
            sql.execute("UPDATE jobs SET request = '[1]', preview_frames = 'many' WHERE id = ?", (jobs[2].id,))
        assert [job.id for job in store.history()] == [jobs[3].id]
        assert [job.id for job in store.queue.jobs()] == [jobs[3].id]
        assert jobs[0].id in caplog.text
        with pytest.raises(NotFound):
            store.get(jobs[0].id)
    service = JobService(settings, FakeEngine(steps=1, delay=0.0))
    service.start()
    assert ended(service, jobs[3]).state == "finished", "a damaged row before it holds nobody up"
    service.close()


@sqlite_only
def test_an_empty_older_file_is_migrated_once_by_many(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        databases = list(pool.map(lambda _: SqliteDatabase(settings.history_file), range(8)))
    for database in databases:
        assert database.read("PRAGMA user_version")[0][0] == len(MIGRATIONS)
        database.close()


def test_handles_and_threads_are_given_back(settings: Settings, request_: GenerationRequest) -> None:
    def used() -> tuple[int, int]:
        gc.collect()  # what other tests left to it must not be given back meanwhile
        return psutil.Process().num_fds(), threading.active_count()

    def once() -> None:
        with JobService(settings, FakeEngine(steps=1, delay=0.0)) as service:
            service.start()
            ended(service, service.submit(request_, "ann"))

    once()
    before = used()
    for _ in range(5):
        once()
    assert used() == before


@pytest.mark.slow
def test_memory_is_flat_over_many_jobs(settings: Settings, serve: Serve, request_: GenerationRequest) -> None:
    engine = FakeEngine(steps=2, delay=0.0)
    service = serve(engine)

    def some(count: int) -> int:
        for _ in range(count):
            ended(service, service.submit(request_, "ann"))
            engine.calls.clear()
        return int(psutil.Process().memory_info().rss)

    first = some(60)
    assert some(120) - first < 4_000_000


def test_the_data_folder_is_made_when_it_is_missing(tmp_path: Path) -> None:
    with open_store(Settings(data_dir=tmp_path / "a" / "b", _env_file=None)) as store:
        assert store.history() == []
