"""The order of the queue, and that a long history does not slow it down."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, until

REQUEST = GenerationRequest(image="sha256:" + "0" * 64, seed=1).model_dump_json()


def filled(jobs: JobService, rows: list[tuple[str, str]]) -> None:
    """Rows of (owner, state), oldest first."""
    columns = "id, owner, kind, state, schema, request, created"
    with jobs._database.write() as sql:
        begin = sql.execute("SELECT COUNT(*) AS number FROM jobs").fetchone()["number"]
        values = [(f"{begin + n:032x}", owner, "clip", state, 2, REQUEST, 1.0) for n, (owner, state) in enumerate(rows)]
        sql.executemany(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def test_everybody_s_first_comes_before_anybody_s_second_and_what_runs_counts(tmp_path: Path) -> None:
    with JobService(Settings(data_dir=tmp_path), slots=False) as jobs:
        rows = [("ann", "denoising"), *[("ann", "queued")] * 2, *[("bob", "queued")] * 3, ("cat", "queued")]
        filled(jobs, [("ann", "finished"), ("bob", "failed"), *rows])
        queue = jobs._store.queue(("clip", "still"))
        assert [row["owner"] for row in queue] == ["bob", "cat", "ann", "bob", "ann", "bob"]
        assert [row["position"] for row in queue] == list(range(6))
        assert (jobs.unfinished(), jobs.unfinished("bob"), jobs.unfinished(ids=["x"])) == (7, 3, 0)


def test_ten_thousand_finished_jobs_do_not_slow_the_queue(tmp_path: Path) -> None:
    """What grows is one look at the history, not one for each waiting job."""
    with JobService(Settings(data_dir=tmp_path), slots=False) as jobs:
        filled(jobs, [(f"v-{n % 7}", "queued") for n in range(64)])
        spent = []
        for finished in (0, 10_000):
            filled(jobs, [(f"v-{n % 7}", "finished") for n in range(finished)])
            begin = time.process_time()
            for _ in range(3):
                jobs.get(f"{10:032x}")
                jobs.history("v-1", 25)
            spent.append((time.process_time() - begin) / 6)
        assert spent[1] < 0.06, f"{spent[1] * 1000:.0f} ms a look"


def test_one_device_takes_turns_between_owners_as_the_queue_is_shown(serve: Serve, request_: GenerationRequest) -> None:
    """It was first come, first served: what an owner had begun counted only while it ran."""
    engine = FakeEngine(steps=1, delay=0.0, gate=threading.Event())
    service = serve(engine)
    first = service.submit(request_, "ann")
    until(lambda: service.get(first.id).state != "queued")
    asked = {"ann": range(10, 13), "bob": range(20, 23), "cat": range(30, 31)}
    for owner, seeds in asked.items():
        for seed in seeds:
            service.submit(request_.model_copy(update={"seed": seed}), owner)
    shown = [job.request.seed for job in service.queue.jobs() if job.position is not None]
    assert shown == [20, 30, 10, 21, 11, 22, 12]
    engine.gate.set()  # type: ignore[union-attr]
    until(lambda: not service.queue.jobs())
    assert [call.seed for call in engine.calls][1:] == shown
