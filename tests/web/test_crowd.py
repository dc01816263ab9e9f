"""Many open pages ask less often, so that the server keeps up with what people do."""

from __future__ import annotations

import asyncio

import pytest

from svd_ui.web.crowd import SHARE, SILENT, Crowd, Lanes
from tests.jobs.conftest import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def crowd(clock: Clock) -> Crowd:
    return Crowd(0.5, 0.004, clock.time)


def test_a_few_pages_ask_as_often_as_ever(crowd: Crowd) -> None:
    assert {crowd.pace(f"page {number}") for number in range(15)} == {0.5}


def test_many_pages_together_take_no_more_than_their_share(crowd: Crowd) -> None:
    pace = [crowd.pace(f"page {number}") for number in range(200)][-1]
    assert 200 * crowd.cost / pace <= SHARE
    assert pace <= 8.0


def test_a_page_that_left_or_fell_silent_counts_no_more(crowd: Crowd, clock: Clock) -> None:
    pages = [f"page {number}" for number in range(200)]
    busy = [crowd.pace(page) for page in pages][-1]
    for page in pages[:100]:
        crowd.leave(page)
    assert crowd.pace(pages[-1]) < busy
    clock.now += SILENT * busy + 1
    assert crowd.pace("a new one") == 0.5


def test_the_pace_changes_seldom(crowd: Crowd) -> None:
    """A timer that is set anew begins anew."""
    paces = [crowd.pace(f"page {number}") for number in range(200)]
    assert len(set(paces)) <= 15


def test_who_has_much_under_way_waits_for_their_own_and_for_nobody_else() -> None:
    async def calls() -> tuple[list[str], list[str], dict]:
        lanes, done, began = Lanes(2), asyncio.Event(), list[str]()

        async def call(asker: str) -> None:
            async with lanes.of(asker):
                began.append(asker)
                await done.wait()

        tasks = [asyncio.create_task(call(asker)) for asker in ("a",) * 5 + ("b", "", "", "")]
        await asyncio.sleep(0)
        first = list(began)
        tasks[4].cancel()  # who waits no more leaves nothing behind
        done.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return first, began, lanes._of

    first, began, left = asyncio.run(calls())
    assert sorted(first) == ["", "", "", "a", "a", "b"]
    assert (began.count("a"), left) == (4, {})
