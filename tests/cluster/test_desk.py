"""The desk: who is made what, until when, and who hears of it. No Ray, and a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from svd_ui.engine.cluster import Began, Ended, Order, desk
from svd_ui.engine.cluster.desk import Sessions

ORDER = Order("a" * 32, "1.0.0", "generate", {}, "page")


class Replicas:
    """One replica, which says what the test puts into ``says``; None is its end."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.brought: Sequence[Any] = ()
        self.asked = 0
        self.left = asyncio.Event()
        self.now = 0.0
        self.desk = Sessions(self._stream, lambda: self.now)

    async def _stream(self, order: Order, parcels: Sequence[Any]) -> AsyncIterator[Any]:
        self.brought, self.asked = parcels, self.asked + 1
        try:
            while (message := await self.says.get()) is not None:
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            self.left.set()

    async def news(self, after: int = 0) -> list[tuple[int, Any]]:
        found = await self.desk.next(ORDER.session, after, 2.0)
        assert found is not None
        return found


Play = Callable[[Replicas], Awaitable[None]]


def played(play: Play) -> None:
    async def whole() -> None:
        await asyncio.wait_for(play(Replicas()), 10)

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(desk, "LOOK_SECONDS", 0.01)


def test_news_is_kept_until_the_page_has_confirmed_it() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, ["brought"])
        at.says.put_nowait(Began("r", False))
        assert await at.news() == [(1, Began("r", False))]
        assert await at.news() == [(1, Began("r", False))], "an answer that was lost"
        at.says.put_nowait(Ended())
        assert await at.news(after=1) == [(2, Ended())]
        assert list(at.brought) == ["brought"]

    played(play)


def test_an_order_that_arrives_twice_is_made_once() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Ended())
        await at.news()
        assert at.asked == 1

    played(play)


def test_a_page_that_was_killed_and_is_back_does_not_have_two_write_into_one_folder() -> None:
    async def play(at: Replicas) -> None:
        first = replace(ORDER, place="jobs/ab12")
        await at.desk.begin(first, [])
        at.says.put_nowait(Began("r", True))
        await at.news()
        await at.desk.begin(replace(first, session="b" * 32, place="jobs/other"), [])
        await at.desk.begin(replace(first, session="c" * 32, page="another"), [])
        stopped = asyncio.create_task(at.desk.until_unwanted(ORDER.session))
        await asyncio.sleep(0.05)
        assert not stopped.done()
        await at.desk.begin(replace(first, session="d" * 32), [])
        assert await stopped

    played(play)


def test_a_desk_does_not_know_the_orders_of_the_one_before_it() -> None:
    async def play(at: Replicas) -> None:
        assert await at.desk.next("b" * 32, 0, 1.0) is None
        assert await at.desk.until_unwanted("b" * 32), "its replica is to stop"

    played(play)


def test_a_page_that_asks_no_more_is_gone_and_its_clip_is_given_up() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Began("r", False))
        await at.news()
        waiting = asyncio.create_task(at.desk.until_unwanted(ORDER.session))
        at.now = desk.VANISHED_SECONDS - 1
        await asyncio.sleep(0.1)
        assert not waiting.done()
        at.now = desk.VANISHED_SECONDS + 1
        assert await waiting is False
        await at.left.wait()

    played(play)


def test_a_cancel_reaches_the_replica_and_the_page_hears_when_it_is_free() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Began("r", False))
        await at.news()
        await at.desk.cancel(ORDER.session, True)
        assert await at.desk.until_unwanted(ORDER.session) is True
        at.says.put_nowait(Ended({"code": "cancelled"}))
        assert await at.news(after=1) == [(2, Ended({"code": "cancelled"}))]

    played(play)


def test_a_cancelled_order_that_waits_for_a_replica_ends_at_once() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        await asyncio.sleep(0)
        await at.desk.cancel(ORDER.session)
        ((_, ended),) = await at.news()
        assert ended.error["code"] == "cancelled"
        await at.left.wait()

    played(play)


def test_a_replica_that_does_not_hear_a_cancel_is_given_up() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Began("r", False))
        await at.news()
        await at.desk.cancel(ORDER.session)
        ((_, ended),) = await at.news(after=1)
        assert ended.error["code"] == "cancelled"
        await at.left.wait()

    played(play)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (type("ActorDiedError", (Exception,), {})(), "its replica was killed or lost"),
        (ValueError("/secret/path"), "its replica failed with ValueError"),
        (None, "its replica ended without a word"),
    ],
)
def test_a_page_hears_why_its_replica_went(error: Exception | None, reason: str) -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Began("r", False))
        at.says.put_nowait(error)
        await at.news()
        found = await at.news(after=1)
        assert found[0][1].error["code"] == "worker_stopped"
        assert found[0][1].error["params"]["reason"] == reason

    played(play)


@pytest.mark.parametrize("error", [KeyError("a replica that is only coming"), None])
def test_that_nobody_began_is_no_fault_of_the_clip(error: Exception | None) -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(error)
        ((_, ended),) = await at.news()
        assert ended.error["code"] == "displaced"

    played(play)


def test_what_runs_goes_back_to_its_page_when_the_cluster_is_taken_down() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        at.says.put_nowait(Began("r", False))
        await at.news()
        assert await at.desk.stop_all() == 1
        ((_, ended),) = await at.news(after=1)
        assert ended.error["code"] == "displaced"
        assert await at.desk.until_unwanted(ORDER.session)
        assert await at.desk.stop_all() == 0

    played(play)


def test_who_waits_for_cancelled_tiles_is_let_go_at_the_end() -> None:
    async def play(at: Replicas) -> None:
        await at.desk.begin(ORDER, [])
        waiting = asyncio.create_task(at.desk.until_fewer(ORDER.session, []))
        await at.desk.leave_out(ORDER.session, [2])
        assert await waiting == [2]
        waiting = asyncio.create_task(at.desk.until_fewer(ORDER.session, [2]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        at.says.put_nowait(Began("r", False))
        at.says.put_nowait(Ended())
        assert await waiting == [2]

    played(play)


def test_replicas_that_report_no_more_are_not_shown_and_a_release_reaches_each_once() -> None:
    async def play(at: Replicas) -> None:
        assert await at.desk.report("one", {"node": "here"}) is None
        assert (await at.desk.state())["replicas"] == {"one": {"node": "here", "session": ""}}
        await at.desk.release("page")
        assert await at.desk.report("one", {}) == "page"
        assert await at.desk.report("one", {}) is None
        at.now = desk.REPORT_SECONDS + 1
        assert (await at.desk.state())["replicas"] == {}

    played(play)
