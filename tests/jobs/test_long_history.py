"""Looking at jobs takes as long over thousands as over a few."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from benchmarks.many_jobs import copies
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.jobs.conftest import sqlite_only

MANY, WAITING = 2000, 64


@pytest.fixture
def store(settings: Settings, request_: GenerationRequest) -> JobService:
    """One finished clip, and many more whose kind nobody has timed yet that wait."""
    with open_store(settings) as store:
        store.queue.pause()
        done, held = (store.submit(request_, "v-0").id for _ in range(2))
        with store._database.write() as sql:
            sql.execute("UPDATE jobs SET state = 'finished', ended = created WHERE id = ?", (done,))
        copies(store, held, WAITING - 1)
        yield store


def processor(ask: Callable[[], object], times: int = 5) -> float:
    """Seconds of this thread, the least of some tries."""
    taken = []
    for _ in range(times):
        began = time.thread_time()
        ask()
        taken.append(time.thread_time() - began)
    return min(taken)


def test_looking_takes_no_longer_over_a_long_history(store: JobService) -> None:
    asks: dict[str, Callable[[], object]] = {
        "history": lambda: store.history(None, 24),
        "my history": lambda: store.history("v-0", 24),
        "queue": lambda: store.queue.jobs(),
        "status": lambda: store.get(store.history("v-0", 1)[0].id),
    }
    few = {what: processor(ask) for what, ask in asks.items()}
    done = store._database.read("SELECT id FROM jobs WHERE state = 'finished'")[0]["id"]
    copies(store, done, MANY)
    with store._database.write() as sql:  # the queue is at the top of the history, as it was
        sql.execute("UPDATE jobs SET number = number + 10000 WHERE state = 'queued'")
    many = {what: processor(ask) for what, ask in asks.items()}
    assert {what: many[what] / few[what] for what in asks if many[what] > 3 * few[what] + 0.001} == {}


@sqlite_only
def test_the_queries_of_a_look_use_an_index(store: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []
    read = store._database.read

    def noted(sql: str, values: object = ()) -> object:
        asked.append((sql, values))
        return read(sql, values)  # type: ignore[arg-type]

    monkeypatch.setattr(store._database, "read", noted)
    store.history("v-0", 24)
    store.queue.jobs("v-0")
    store.get(store.history("v-0", 1)[0].id)
    assert len(asked) > 4
    plans = {sql: [row["detail"] for row in read(f"EXPLAIN QUERY PLAN {sql}", values)] for sql, values in asked}  # type: ignore[arg-type]
    scanned = {sql: plan for sql, plan in plans.items() if any(line.startswith("SCAN jobs") for line in plan)}
    assert scanned == {}
