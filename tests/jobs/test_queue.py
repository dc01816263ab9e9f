"""People and the queue: pause, another order, another request, skip, stop all; fair whatever anybody does."""

from __future__ import annotations

import threading
import time

import pytest

from svd_ui.errors import BadInput, NotFound, NotWaiting
from svd_ui.jobs.job_run import RowCancel
from svd_ui.jobs.queue import moved
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, Stepping, ended, until


def names(service: JobService, owner: str | None = None) -> str:
    """The waiting jobs by their names, in order."""
    jobs = [job for job in service.queue.jobs(owner) if job.state == "queued"]
    return " ".join(job.name for job in sorted(jobs, key=lambda job: job.position or 0))


def fill(service: JobService, request: GenerationRequest, *wanted: str) -> dict[str, str]:
    """Jobs named ``a1 a2 b1``, the letter being the owner; name => id."""
    return {name: service.submit(request, name[0], name=name).id for name in wanted}


def test_a_pause_stops_what_runs_within_two_seconds_and_outlives_a_restart(
    settings: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    engine = FakeEngine(steps=100, delay=0.2)
    service = serve(engine)
    job = service.submit(request_, "ann")
    until(lambda: service.get(job.id).state == "denoising")
    started = time.monotonic()
    service.queue.pause()
    until(lambda: engine.released)
    assert time.monotonic() - started < 2.0
    assert service.get(job.id).state == "queued"
    service.close()
    again = serve(FakeEngine(steps=1, delay=0.0))
    assert again.queue.paused
    time.sleep(0.7)
    assert again.get(job.id).state == "queued"
    assert again.submit(request_, "ann").position == 1
    again.queue.resume()
    assert ended(again, job).state == "finished"


def test_only_the_operator_pauses(settings: Settings) -> None:
    with open_store(settings) as service:
        with pytest.raises(NotFound):
            service.queue.pause("ann")
        assert not service.queue.paused


def test_an_owner_arranges_its_own_jobs_and_nobody_elses(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as service:
        ids = fill(service, request_, "a1", "a2", "a3", "b1", "b2")
        assert names(service) == "a1 b1 a2 b2 a3"
        service.queue.move(ids["a3"], "first", owner="a")
        assert names(service) == "a3 b1 a1 b2 a2"
        service.queue.move(ids["a3"], "after", ids["a1"], owner="a")
        assert names(service) == "a1 b1 a3 b2 a2"
        service.queue.move(ids["b1"], "last", owner="b")
        assert names(service) == "a1 b2 a3 b1 a2"
        for other, owner in ((ids["b1"], "a"), ("nothing", "a")):
            with pytest.raises(NotFound):
                service.queue.move(ids["a1"], "before", other, owner=owner)
        with pytest.raises(NotFound):
            service.queue.move(ids["a1"], "first", owner="b")
        assert names(service) == "a1 b2 a3 b1 a2"


def test_the_operator_arranges_all_and_later_jobs_follow_fairly(
    settings: Settings, request_: GenerationRequest
) -> None:
    with open_store(settings) as service:
        ids = fill(service, request_, "a1", "a2", "a3", "b1")
        service.queue.move(ids["a3"], "before", ids["b1"])
        assert names(service) == "a1 a3 b1 a2"
        service.queue.move(ids["b1"], "first")
        assert names(service) == "b1 a1 a3 a2"
        fill(service, request_, "a4", "c1")
        assert names(service) == "b1 a1 a3 a2 c1 a4"
        service.queue.move(ids["b1"], "last")
        assert names(service) == "a1 a3 a2 c1 a4 b1"
    with open_store(settings) as service:  # another process, the same order
        assert names(service) == "a1 a3 a2 c1 a4 b1"


def test_what_is_arranged_is_what_runs(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    engine = FakeEngine(steps=1, delay=0.0, gate=gate)
    service = serve(engine)
    running = service.submit(request_, "ann")
    until(lambda: service.get(running.id).state != "queued")
    waiting = [service.submit(request_.model_copy(update={"seed": seed}), "ann") for seed in (1, 2, 3)]
    service.queue.move(waiting[2].id, "first")
    with pytest.raises(NotFound):
        service.queue.move(running.id, "last")
    gate.set()
    assert all(ended(service, job).state == "finished" for job in waiting)
    assert [call.seed for call in engine.calls] == [7, 3, 1, 2]


@pytest.mark.parametrize(
    ("where", "other", "result"),
    [
        ("first", None, "cab"),
        ("last", None, "abc"),
        ("before", "b", "acb"),
        ("after", "a", "acb"),
        ("after", "c", "abc"),
    ],
)
def test_places(where: str, other: str | None, result: str) -> None:
    assert "".join(moved("abc", "c", where, other)) == result  # type: ignore[arg-type]


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput):
        moved("abc", "a", "sideways", "b")  # type: ignore[arg-type]


def test_a_waiting_job_gets_another_request_and_keeps_its_place(
    settings: Settings, request_: GenerationRequest
) -> None:
    with open_store(settings) as service:
        ids = fill(service, request_, "a1", "a2")
        changed = request_.model_copy(update={"num_frames": 9, "seed": None})
        job = service.queue.edit(ids["a1"], changed, "a")
        assert (job.request.num_frames, job.position) == (9, 0)
        assert job.request.seed is not None
        with pytest.raises(BadInput):
            service.queue.edit(ids["a1"], request_.model_copy(update={"image": "sha256:" + "0" * 64}), "a")
        with pytest.raises(BadInput):
            service.queue.edit(ids["a1"], request_.model_copy(update={"checkpoint": "nothing"}), "a")
        with pytest.raises(NotFound):
            service.queue.edit(ids["a1"], changed, "b")
        service.cancel(ids["a2"])
        with pytest.raises(BadInput, match="not waiting"):
            service.queue.edit(ids["a2"], changed, "a")
        assert service.get(ids["a1"]).request == job.request


def test_a_skipped_job_goes_to_the_end_and_comes_again(serve: Serve, request_: GenerationRequest) -> None:
    engine = Stepping(steps=1, gate=threading.Event())
    service = serve(engine)
    first, second = (service.submit(request_.model_copy(update={"seed": seed}), "ann") for seed in (1, 2))
    until(lambda: service.get(first.id).state != "queued")
    service.queue.skip(first.id, "ann")
    until(lambda: len(engine.calls) == 2)
    assert service.get(first.id).state == "queued"
    engine.gate.set()  # type: ignore[union-attr]
    assert ended(service, second).state == "finished"
    until(lambda: len(engine.calls) == 3)
    engine.gate.set()  # type: ignore[union-attr]
    assert ended(service, first).state == "finished"
    assert [call.seed for call in engine.calls] == [1, 2, 1]


def test_stop_all_is_of_the_owner_or_of_everybody(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=100, delay=0.2))
    ids = fill(service, request_, "a1", "b1", "a2", "b2")
    until(lambda: service.get(ids["a1"]).state == "denoising")
    service.queue.stop_all("b")
    assert [service.get(ids[name]).state for name in ("b1", "b2", "a2")] == ["cancelled", "cancelled", "queued"]
    service.queue.stop_all()
    assert ended(service, service.get(ids["a1"])).state == "cancelled"
    assert service.get(ids["a2"]).state == "cancelled"


def test_the_order_of_many_takes_no_time(settings: Settings, request_: GenerationRequest) -> None:
    """It was quadratic: 1.1 s for 64 waiting jobs beside 10,000 finished ones."""
    with open_store(settings.model_copy(update={"max_queue": 1000})) as service:
        ids = fill(service, request_, *(f"{owner}{number}" for number in range(16) for owner in "abcd"))
        with service._database.write() as sql:
            sql.executemany(
                "INSERT INTO jobs (id, owner, kind, state, schema, request, created)"
                " SELECT ?, owner, kind, 'finished', schema, request, created FROM jobs WHERE id = ?",
                [(f"{number:032x}", ids["a0"]) for number in range(10_000)],
            )
        started = time.process_time()
        assert len(service.queue.jobs()) == 64
        assert time.process_time() - started < 0.25
        service.queue.stop_all()
        started = time.process_time()
        assert len(service.history(limit=100)) == 100
        assert time.process_time() - started < 0.06


def test_what_a_command_line_makes_or_has_ended_is_not_put_off(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings, FakeEngine(settings=settings, delay=0.05, steps=40), slots=False, role="cli") as line:
        running = line.run_inline(request_, "cli")
        job = next(running)
        with open_store(settings) as other, pytest.raises(NotWaiting, match="command line"):
            other.queue.skip(job.id)
        running.close()  # type: ignore[attr-defined]
        with pytest.raises(NotWaiting):
            line.queue.skip(job.id)


def test_who_is_skipped_stops_in_peace_and_who_is_paused_at_once(
    settings: Settings, request_: GenerationRequest
) -> None:
    """To end a worker that is in the middle of a long step would cost the next clip a new process and loading."""
    with open_store(settings) as store:
        for stop, hurries in ((store.queue.skip, False), (lambda _: store.queue.pause(), True)):
            id = store.submit(request_, "ann").id
            assert store._store.claim("p", ("clip",)) is not None
            cancel = RowCancel(store._store, id, "p", None)
            stop(id)
            assert cancel.is_set() and cancel.waits_again
            assert cancel.hurries is hurries
            store._store.settle(id, "p", state="failed", ended=1.0)


def test_an_edited_clip_shows_nothing_of_the_one_before(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    service = serve(Stepping(gate=gate, steps=6))
    job = service.submit(request_, "ann")
    gate.set()
    until(lambda: (service.get(job.id).step or 0) >= 1)
    service.queue.pause()
    until(lambda: service.get(job.id).state == "queued")
    service.settings.jobs_dir.joinpath(job.id, "preview.jpg").write_bytes(b"of the clip before")
    service.queue.edit(job.id, request_.model_copy(update={"seed": 99}))
    now = service.get(job.id)
    assert (now.step, now.total, now.has_preview, now.notes) == (None, None, False, ())
    assert service.file(now, "preview") is None
