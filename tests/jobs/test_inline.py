"""Jobs that run in the thread of whoever asked for them, as on ZeroGPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from svd_ui.engine.zero_gpu import ZeroGpuEngine
from svd_ui.errors import BadInput
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.engine.test_zero_gpu import GradioError, Lender
from tests.fakes import FakeEngine
from tests.jobs.conftest import sqlite_only


def test_what_waits_is_run_where_its_visitor_asks(settings: Settings, request_: GenerationRequest) -> None:
    local = FakeEngine(steps=2, delay=0, settings=settings)
    where = set[int]()

    class Noting(Lender):
        def __call__(self, task: Any, *, duration: Any) -> Any:
            lent = super().__call__(task, duration=duration)

            def noting(*given: Any) -> Iterator[Any]:
                where.add(threading.get_ident())
                yield from lent(*given)

            return noting

    with JobService(settings, ZeroGpuEngine(settings, Noting(), local), inline=True) as service:
        service.start()
        mine = [service.submit(request_, "ann").id for _ in range(2)]
        other = service.submit(request_, "bob").id
        assert {job.id for job in service.run_waiting("ann")} == set(mine)
        assert [service.get(id).state for id in (*mine, other)] == ["finished", "finished", "queued"]
        assert where == {threading.get_ident()}
        assert list(service.run_waiting("ann")) == []


def test_a_refusal_ends_the_job_with_its_sentence(settings: Settings, request_: GenerationRequest) -> None:
    lender = Lender(GradioError("ZeroGPU quota exceeded", "You have exceeded your free ZeroGPU quota."))
    with JobService(settings, ZeroGpuEngine(settings, lender, FakeEngine(settings=settings)), inline=True) as service:
        service.start()
        id = service.submit(request_, "ann").id
        *_, last = service.run_waiting("ann")
        assert (last.id, last.state) == (id, "failed")
        assert last.error is not None
        assert last.error["code"] == "gpu_refused"


@sqlite_only
def test_a_damaged_row_ends_and_the_next_is_run(settings: Settings, request_: GenerationRequest) -> None:
    engine = ZeroGpuEngine(settings, Lender(), FakeEngine(steps=1, delay=0, settings=settings))
    with JobService(settings, engine, inline=True) as service:
        service.start()
        broken, whole = (service.submit(request_, "ann").id for _ in range(2))
        with service._store.database.write() as sql:
            sql.execute("UPDATE jobs SET reached = 'abc' WHERE id = ?", (broken,))
        assert {job.id for job in service.run_waiting("ann")} == {whole}
        assert service._store.row(broken)["state"] == "failed"


def test_nothing_but_engines_of_events_runs_in_a_caller(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings, FakeEngine(settings=settings), slots=False) as service:
        service.submit(request_, "ann")
        assert list(service.run_waiting("ann")) == []
        with pytest.raises(BadInput):
            service.submit(GenerationRequest(), "ann")
