"""The queue is looked at once for all who ask within a moment, and what is said is true all the same."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from svd_ui.errors import HistoryUnreachable
from svd_ui.jobs.glance import FRESH_SECONDS, Glance
from svd_ui.jobs.service import open_store
from svd_ui.jobs.timing import Timings
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings


class Counted:
    """A database that counts what is read."""

    def __init__(self, database: Any) -> None:
        self.reads, self._read = 0, database.read
        database.read = self

    def __call__(self, *args: Any) -> Any:
        self.reads += 1
        return self._read(*args)


def test_a_hundred_who_ask_at_once_cost_one_look(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        ids = [store.submit(request_, f"owner {n}").id for n in range(8)]
        rows = [store._store.row(id) for id in ids]
        now = [0.0]
        glance = Glance(store._store, Timings(store._database), lambda: 1, lambda: None, lambda: now[0])
        counted = Counted(store._database)
        for _ in range(100):
            assert [job.position for job in glance.jobs(rows)] == list(range(8))
        one_look = counted.reads
        assert one_look <= 5
        now[0] += 2 * FRESH_SECONDS
        glance.jobs(rows)
        assert counted.reads == 2 * one_look


def test_what_this_process_changes_is_seen_at_once(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        first, second = (store.submit(request_, "ann").id for _ in range(2))
        assert [store.get(id).position for id in (first, second)] == [0, 1]
        store.queue.move(second, "first")
        assert [store.get(id).position for id in (second, first)] == [0, 1]
        store.cancel(second)
        assert store.get(first).position == 0 and store.get(second).position is None
        third = store.submit(request_, "ann").id
        assert [job.id for job in store.queue.jobs()] == [first, third]


def test_what_another_process_put_there_is_found(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as page, open_store(settings) as other:
        mine = page.submit(request_, "ann").id
        assert page.get(mine).position == 0
        theirs = other.submit(request_, "bob").id
        assert page.get(theirs).position == 1


def test_a_step_changes_no_place_and_costs_no_look(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        store.submit(request_, "ann")
        before = store._database.changes
        row = store._store.claim("p", ("clip",))
        assert row is not None and store._database.changes > before
        before = store._database.changes
        for step in range(3):  # as a runner records it
            assert store._store.update(row["id"], "p", state="denoising", step=step, message="")
        assert store._database.changes == before
        assert store._store.settle(row["id"], "p", state="failed", ended=1.0)
        assert store._database.changes > before


@pytest.mark.parametrize("ended", ["finished", "failed"])
def test_an_ended_job_needs_no_look(settings: Settings, request_: GenerationRequest, ended: str) -> None:
    with open_store(settings) as store:
        row = {**dict(store._store.row(store.submit(request_, "ann").id)), "state": ended, "ended": 1.0}
        counted = Counted(store._database)
        assert [job.state for job in store._glance.jobs([row])] == [ended]
        assert counted.reads == 0


def test_who_waited_for_a_look_that_failed_does_not_try_again(settings: Settings, request_: GenerationRequest) -> None:
    """A database server that is away takes seconds to say so: forty who ask must not wait one after the other."""
    with open_store(settings) as store:
        row = store._store.row(store.submit(request_, "ann").id)
        glance = Glance(store._store, Timings(store._database), lambda: 1, lambda: None)
        tried, waiting = [], threading.Barrier(5)

        def away(*_: object) -> list[object]:
            tried.append(1)
            time.sleep(0.3)
            raise HistoryUnreachable(address="db", reason="away")

        store._database.read = away  # type: ignore[method-assign, assignment]

        def ask() -> str:
            waiting.wait()
            try:
                glance.jobs([row])
            except HistoryUnreachable:
                return "away"
            return "answered"

        with ThreadPoolExecutor(5) as threads:
            assert [one.result() for one in [threads.submit(ask) for _ in range(5)]] == ["away"] * 5
        assert len(tried) == 1
        with pytest.raises(HistoryUnreachable):
            glance.jobs([row])
        assert len(tried) == 2, "who comes later looks again"
