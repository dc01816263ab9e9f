"""The page over a long history beside one without: how it opens, and what its questions take.

    python -m benchmarks.many_jobs                 10,000 finished clips and 64 that wait

Two pages are served at the same time and asked in turn, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from . import report
from .page_app import App, fake, running
from .report import Row, finish
from .tab import Plan, Seen, Tab

FILES_OF = 200
"""The newest jobs whose files are there too; a page shows 24 at a time, a program 100."""


def fill(data: Path, finished: int, waiting: int) -> None:
    """A folder of data with so many jobs, copies of one that was made; the queue is paused, so that what waits does."""
    from PIL import Image

    from svd_ui.assets import Assets

    settings = Settings(_env_file=None, data_dir=data, devices="cpu")
    image = Assets.of(settings).keep(Image.linear_gradient("L").convert("RGB"))
    request = GenerationRequest(image=image, seed=1, width=64, height=64)
    with JobService(settings, fake(settings, None)) as service:
        made = [job.id for job in service.run_inline(request, "v-made")][-1]
        if not finished:
            service.delete(made)
    if finished:
        with open_store(settings) as store:
            store.queue.pause()
            held = store.submit(request, "v-held").id
            copies(store, made, finished - 1)
            copies(store, held, waiting - 1)
            for row in store._database.read(
                "SELECT id FROM jobs WHERE state = 'finished' ORDER BY number DESC LIMIT ?", (FILES_OF,)
            ):
                if row["id"] != made:
                    shutil.copytree(settings.jobs_dir / made, settings.jobs_dir / row["id"])


def copies(store: JobService, id: str, count: int) -> None:
    """So many rows more like that of a job, of twenty owners, in the order of their numbers."""
    with store._database.write() as sql:
        row = dict(sql.execute("SELECT * FROM jobs WHERE id = ?", (id,)).fetchone())
        del row["number"]
        names = ", ".join(row)
        sql.executemany(
            f"INSERT INTO jobs ({names}) VALUES (:{', :'.join(row)})",
            ({**row, "id": os.urandom(16).hex(), "owner": f"v-{number % 20}"} for number in range(count)),
        )


Ask = Callable[[], Awaitable[Any]]


class Page:
    """One of the two, and what is asked of it."""

    def __init__(self, app: App, plan: Plan, seen: Seen) -> None:
        host, port = app.url.removeprefix("http://").split(":")
        self.app, self.plan, self.seen = app, plan, seen
        self.tab = Tab(host, int(port), seen)

    async def open(self) -> None:
        tab = Tab(self.tab._host, self.tab._port, self.seen)
        await tab.open(self.plan)
        tab.close()

    def asks(self, job: str) -> dict[str, Ask]:
        tick, tab = self.plan.timer(always=False), self.tab
        return {
            "page opens": self.open,
            "/svd/history": lambda: tab.ask("history", "GET", "/svd/history"),
            "/svd/history of 100": lambda: tab.ask("history", "GET", "/svd/history?limit=100"),
            "/svd/status": lambda: tab.ask("status", "GET", f"/svd/status/{job}"),
            "/svd/queue": lambda: tab.ask("queue", "GET", "/svd/queue"),
            "page looks again": lambda: tab.run("tick", tick),
        }


async def compare(apps: tuple[App, App], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """What was asked => seconds on the empty page, and on the full one."""
    seen, pages = Seen(), list[Page]()
    for app in apps:
        host, port = app.url.removeprefix("http://").split(":")
        first = Tab(host, int(port), seen)
        plan = await first.open()
        first.close()
        assert plan is not None
        pages.append(Page(app, plan, seen))
        await pages[-1].tab.open(plan)
    listed = await pages[1].tab.ask("queue", "GET", "/svd/queue")
    assert listed is not None
    waits = listed.json()["jobs"][-1]["id"]
    asks = [page.asks(waits) for page in pages]
    asks[0]["/svd/status"] = asks[0]["/svd/queue"]  # it has no job to ask for
    found: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in asks[0]}
    for _ in range(rounds):
        for what, both in found.items():
            for times, ask in zip(both, asks, strict=True):
                began = time.perf_counter()
                await ask[what]()
                times.append(time.perf_counter() - began)
    for page in pages:
        page.tab.close()
    if seen.errors:
        raise SystemExit(f"asking failed: {dict(seen.errors)}")
    return found


LIMITS = {"/svd/history": 100.0, "/svd/history of 100": None, "/svd/status": None, "/svd/queue": None}
"""Milliseconds."""


def rows(found: dict[str, tuple[list[float], list[float]]]) -> list[Row]:
    rows = []
    for what, (empty, full) in found.items():
        few, many = 1000 * statistics.median(empty), 1000 * statistics.median(full)
        rows.append(
            Row(f"{what}, long history", many, "ms", at_most=LIMITS.get(what), note=f"{few:.1f} ms without one")
        )
        if what == "page opens":
            ratio = statistics.median(b / a for a, b in zip(empty, full, strict=True))
            rows.append(Row("page opens, against without history", ratio, "x", at_most=1.2, note="pair by pair"))
    return rows


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="svd-ui-many-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        apps = []
        for name, finished in (("empty", 0), ("full", given.jobs)):
            fill(Path(folder) / name, finished, given.waiting)
            apps.append(stack.enter_context(running(Path(folder) / name)))
        found = rows(asyncio.run(compare((apps[0], apps[1]), given.rounds)))
    finish(
        "many_jobs",
        f"{os.cpu_count()} processors",
        found,
        given.json,
        jobs=given.jobs,
        waiting=given.waiting,
        load_average=os.getloadavg(),
    )


if __name__ == "__main__":
    main()
