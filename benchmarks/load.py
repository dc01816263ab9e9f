"""Two hundred people with the page open: what they wait for, what goes wrong, and what it costs the page.

    python -m benchmarks.load                               200 tabs, ten minutes
    python -m benchmarks.load --clients 40 --minutes 1 --faster 8

The page is a process of its own, public, every tab a visitor with a cookie; clips are made by a worker without a model. A
tab does what a browser's does: it opens the page and its stream, asks twice a second while a clip of it waits and now and
then else, and its visitor animates a picture about once a minute, looks at what came, stops some. Beside its page each
asks ``/svd/status`` as a program would. Client and worker give way to the page (nice): they share its processors.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import report
from .page_app import App, running
from .report import Row, finish
from .tab import Plan, Seen, Tab

RAMP = 60.0
"""Seconds over which the visitors arrive."""
STATUS_SECONDS, HISTORY_SECONDS = 2.0, 20.0
THINKS = (30.0, 60.0)
"""Seconds between a clip's end and the next."""
STOPS = 0.1
ENDED = ("finished", "failed", "cancelled", "interrupted")
EXAMPLES = ("astronaut.jpg", "brushes.jpg")
SAMPLE_SECONDS = 2.0


class Visitor:
    """One tab, and who sits before it. ``faster`` shortens all thinking, for short runs."""

    def __init__(self, tab: Tab, plan: Plan, chance: random.Random, faster: float = 1.0) -> None:
        self.tab, self.plan, self.chance, self.faster = tab, plan, chance, faster
        self.job = ""
        self._busy: set[str] = set()

    async def live(self, closing: asyncio.Event) -> None:
        """Open the page, and stay until everybody goes."""
        if await self.tab.open(self.plan) is None:
            return
        parts = (self._ticks(), self._slow(), self._queue(), self._status(), self._history(), self._acts())
        tasks = [asyncio.create_task(part) for part in parts]
        await closing.wait()
        while tasks:  # more than once: before Python 3.12 wait_for may swallow it
            for task in tasks:
                task.cancel()
            tasks = [*(await asyncio.wait(tasks, timeout=1.0))[1]]
        self.tab.close()

    # What a page does by itself

    async def _ticks(self) -> None:
        call = self.plan.timer(always=False)
        timer = call["targets"][0][0]
        while True:
            await asyncio.sleep(self.tab.prop(timer, "value"))
            if self.tab.prop(timer, "active"):
                await self.tab.run("tick", call)

    async def _slow(self) -> None:
        call = self.plan.timer(always=True)
        timer = call["targets"][0][0]
        while True:
            await asyncio.sleep(self.tab.prop(timer, "value"))
            await self.tab.run("now and then", call)

    async def _queue(self) -> None:
        while True:
            told = await self.tab.ask("queue", "GET", "/svd/queue")
            jobs = told.json()["jobs"] if told is not None else []
            await asyncio.sleep(2.5 if jobs else 15.0)

    # What programs and people do

    async def _status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_SECONDS * self.chance.uniform(0.8, 1.2))
            if self.job:
                await self.tab.ask("status", "GET", f"/svd/status/{self.job}")

    async def _history(self) -> None:
        while True:
            await asyncio.sleep(HISTORY_SECONDS * self.chance.uniform(0.5, 1.5))
            await self.tab.ask("history", "GET", "/svd/history")

    async def _acts(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(*THINKS) / self.faster)
            with suppress(TimeoutError):
                await self._animates()

    async def _animates(self) -> None:
        tab, plan = self.tab, self.plan
        await tab.run("picture", plan.call("example", "door"), {"name": self.chance.choice(EXAMPLES)})
        await tab.run("form", plan.call("beat", "pulse"))
        before = self.job
        await tab.run("animate", plan.call("click", "animate"))
        self.job = tab.values.get(plan.by_storage("svd-ui-job")) or ""
        if self.job in ("", before):
            self.tab.seen.refusals[tab.said() or "nothing started"] += 1
            return
        self.tab.seen.counted["clips asked for"] += 1
        if self.chance.random() < STOPS:
            await asyncio.sleep(self.chance.uniform(0, 5))
            await tab.ask("stop", "POST", "/svd/queue", {"do": "stop", "id": self.job})
        state = ""
        while state not in ENDED:
            await asyncio.sleep(1.0)
            told = await tab.ask("status", "GET", f"/svd/status/{self.job}")
            state = told.json()["state"] if told is not None else ""
        tab.seen.counted[f"clips {state}"] += 1
        if state == "finished":
            for name in ("poster", "video"):
                await tab.ask("file", "GET", f"/svd/job/{self.job}/{name}")


class Gauge:
    """The page's memory and processor time as they go, and how late this program itself is."""

    def __init__(self, app: App) -> None:
        self.app, self.memory, self.late = app, list[tuple[float, float]](), list[float]()

    async def watch(self) -> None:
        began = time.monotonic()
        while True:
            self.memory.append((time.monotonic() - began, self.app.memory()))
            due = time.monotonic() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            self.late.append(time.monotonic() - due)

    def growth(self) -> float:
        """Percent from the middle of the run to its end, each as the median of a tenth."""
        count = len(self.memory)
        middle, end = (
            statistics.median(mb for _, mb in self.memory[at:][: max(1, count // 10)])
            for at in (count // 2, -max(1, count // 10))
        )
        return 100 * (end / middle - 1)


def never(seen: Seen) -> bool:
    return False


async def visit(
    app: App,
    clients: int,
    seconds: float,
    seed: int,
    ramp: float = RAMP,
    enough: Callable[[Seen], bool] = never,
    faster: float = 1.0,
) -> tuple[Seen, Gauge, float, float]:
    """All tabs on one page, for so long or until ``enough`` was seen; (what they saw, the gauge, the page's CPU seconds, seconds).

    ``faster`` as in ``Visitor``.
    """
    host, port = app.url.removeprefix("http://").split(":")
    seen, gauge, chance = Seen(), Gauge(app), random.Random(seed)
    first = Tab(host, int(port), Seen())
    plan = await first.open()
    first.close()
    if plan is None:
        raise SystemExit("the page cannot be opened")
    began, cpu = time.monotonic(), app.cpu()
    watching = asyncio.create_task(gauge.watch())
    closing = asyncio.Event()

    async def one(number: int) -> None:
        await asyncio.sleep(ramp * number / clients)
        await Visitor(Tab(host, int(port), seen), plan, random.Random(chance.random()), faster).live(closing)

    visitors = [asyncio.create_task(one(number)) for number in range(clients)]
    while time.monotonic() < began + seconds and not enough(seen):
        await asyncio.sleep(0.1)
    closing.set()
    await asyncio.gather(*visitors)
    watching.cancel()
    return seen, gauge, app.cpu() - cpu, time.monotonic() - began


def rows(seen: Seen, gauge: Gauge, cpu: float, seconds: float) -> list[Row]:
    kinds = sorted(seen.seconds, key=lambda kind: -len(seen.seconds[kind]))
    errors = ", ".join(f"{count} x {what}" for what, count in seen.errors.most_common(5))
    asked = sum(map(len, seen.seconds.values()))
    found = [
        Row("requests", asked, note=f"{asked / seconds:.0f} a second"),
        Row("errors", sum(seen.errors.values()), at_most=0, note=errors[:300]),
        Row("refused in words", sum(seen.refusals.values()), note="; ".join(list(seen.refusals)[:3])[:300]),
        Row("status, 95 of 100 within", _part(seen.seconds["status"], 0.95), "ms", at_most=300),
        Row("page's memory, growth over the last half", gauge.growth(), "%", at_most=5, note=_course(gauge)),
        Row("page's processor time", 100 * cpu / seconds, "% of one"),
        Row("client late, 95 of 100 within", _part(gauge.late, 0.95), "ms", note="what it adds to every figure"),
    ]
    for kind in kinds:
        times = seen.seconds[kind]
        half, most, all_ = (_part(times, share) for share in (0.5, 0.95, 0.99))
        found.append(Row(f"{kind}: median", half, "ms", note=f"95 % {most:.0f}, 99 % {all_:.0f}, {len(times)} times"))
    return found + [Row(what, count) for what, count in sorted(seen.counted.items())]


def _part(seconds: list[float], share: float) -> float:
    """Milliseconds within which that share lies."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _course(gauge: Gauge) -> str:
    picked = gauge.memory[:: max(1, len(gauge.memory) // 8)]
    return "MB " + " ".join(f"{mb:.0f}" for _, mb in picked)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--nice", type=int, default=0, help="the page's; negative where others use the machine, as root"
    )
    parser.add_argument("--faster", type=float, default=1.0, help="people think so many times faster")
    given = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, given.nice + 5)
    load = os.getloadavg()
    with (
        tempfile.TemporaryDirectory(prefix="svd-ui-load-", ignore_cleanup_errors=True) as folder,
        running(Path(folder), nice=given.nice, public="true") as app,
    ):
        found = rows(*asyncio.run(visit(app, given.clients, given.minutes * 60, given.seed, faster=given.faster)))
    more: dict[str, Any] = {
        "clients": given.clients,
        "minutes": given.minutes,
        "nice": given.nice,
        "load_average_before": load,
        "load_average_after": os.getloadavg(),
    }
    finish("load", f"{os.cpu_count()} processors", found, given.json, **more)


if __name__ == "__main__":
    main()
