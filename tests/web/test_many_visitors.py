"""Twenty people with the page open, and a dozen clips on end: nothing fails, and nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import psutil
import pytest

from benchmarks.load import visit
from benchmarks.page_app import App
from benchmarks.tab import Plan, Seen, Tab
from svd_ui.settings import Settings
from svd_ui.web import SESSIONS
from svd_ui.web.context import Context
from svd_ui.web.sessions import LightSession
from tests.fakes import FakeEngine

from .conftest import Served, serving
from .guard.test_routes import app_of

CLIENTS, CLIPS, DEADLINE = 20, 5, 300.0


@pytest.fixture(scope="module")
def page(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), public=True, checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=2, delay=0.01, settings=settings))


async def opened(page: Served) -> tuple[Tab, Plan]:
    place = urlsplit(page.url)
    tab = Tab(str(place.hostname), int(place.port or 0), Seen())
    plan = await tab.open()
    assert plan is not None, tab.seen.errors
    return tab, plan


def test_twenty_visitors_are_all_served(page: Served) -> None:
    app = App(page.url.rstrip("/"), psutil.Process())

    def enough(seen: Seen) -> bool:
        ended = seen.counted["clips finished"] + seen.counted["clips cancelled"]
        return len(seen.seconds["load"]) == CLIENTS and ended >= CLIPS

    seen, *_ = asyncio.run(visit(app, CLIENTS, DEADLINE, seed=1, ramp=0.5, enough=enough, faster=10))
    assert not seen.errors
    assert enough(seen), seen.counted
    assert {"status", "file", "form"} <= seen.seconds.keys()
    sessions = app_of(page).state_holder.session_data
    assert CLIENTS <= len(sessions) <= SESSIONS


def test_a_session_is_light_and_keeps_what_a_page_needs(page: Served) -> None:
    async def look() -> tuple[str, dict[int, object]]:
        tab, plan = await opened(page)
        before = await tab.run("tick", plan.timer(always=False))
        tab.close()
        assert before is not None
        return tab.session, before

    session, _ = asyncio.run(look())
    kept = app_of(page).state_holder.session_data[session]
    assert isinstance(kept, LightSession)
    assert not kept.config_values
    assert 24 in kept.state_data.values()  # how much of the history is shown


def test_values_of_controls_take_no_thread_each(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """They took a hundred for a press of Animate, each a turn behind everybody else's."""
    hops = list[str]()
    run_sync = anyio.to_thread.run_sync

    async def noted(call: Any, *args: Any, **options: Any) -> Any:
        hops.append(getattr(call, "__qualname__", repr(call)))
        return await run_sync(call, *args, **options)

    async def press() -> None:
        tab, plan = await opened(page)
        await tab.run("picture", plan.call("example", "door"), {"name": "astronaut.jpg"})
        monkeypatch.setattr(anyio.to_thread, "run_sync", noted)
        await tab.run("animate", plan.call("click", "animate"))
        assert tab.values[plan.by_storage("svd-ui-job")]
        tab.close()

    asyncio.run(press())
    assert 0 < len(hops) < 20


def test_a_page_is_told_its_pace_with_what_it_asked_for(page: Served) -> None:
    (context,) = [one for one in gc.get_objects() if isinstance(one, Context) and one.jobs is page.jobs]

    async def look() -> tuple[float, str]:
        tab, plan = await opened(page)
        call = plan.timer(always=True)
        for number in range(200):
            context.open_pages.pace(f"page {number}")
        await tab.run("now and then", call)
        tab.close()
        return float(tab.prop(call["targets"][0][0], "value")), tab.session

    told, session = asyncio.run(look())
    assert told == context.open_pages.pace(session) > context.open_pages.usual


def test_a_dozen_clips_leave_no_thread_and_no_open_file(page: Served) -> None:
    """Asked for, followed, some stopped: as a page that is never closed does it all day."""
    process = psutil.Process()

    async def clips(count: int) -> None:
        tab, plan = await opened(page)
        tick = plan.timer(always=False)
        await tab.run("picture", plan.call("example", "door"), {"name": "astronaut.jpg"})
        for number in range(count):
            await tab.run("animate", plan.call("click", "animate"))
            id = str(tab.values[plan.by_storage("svd-ui-job")])
            if number % 3 == 2:
                await tab.ask("stop", "POST", "/svd/queue", {"do": "stop", "id": id})
            await asyncio.to_thread(page.jobs.wait, id, 60.0)
            await tab.run("tick", tick)
        assert not tab.seen.errors
        tab.close()

    def held() -> tuple[int, int]:
        gc.collect()
        return process.num_fds(), process.num_threads()

    asyncio.run(clips(4))
    before = held()
    asyncio.run(clips(12))
    after = held()
    assert after[0] <= before[0] + 2, f"open files {before[0]}, then {after[0]}"
    assert after[1] <= before[1] + 3, f"threads {before[1]}, then {after[1]}"


def test_the_errors_of_a_page_are_seen(page: Served, tmp_path: Path) -> None:
    """What measures must be able to fail."""

    async def ask() -> Seen:
        tab, plan = await opened(page)
        await tab.run("broken", {**plan.call("example", "door"), "id": 99_999})
        await tab.ask("gone", "GET", "/svd/status/nothing")
        tab.close()
        return tab.seen

    seen = asyncio.run(ask())
    assert list(seen.errors.values()) == [1]
    assert sum(seen.refusals.values()) == 1
