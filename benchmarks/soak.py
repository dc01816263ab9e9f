"""Hundreds of clips of all kinds, one after the other, by one page and one worker: do they grow?

    python -m benchmarks.soak --jobs 300
    python -m benchmarks.soak --jobs 24 --settle 6

Real clips of a tiny SVD: plain ones, walls, by camera and as loops, with post steps, from prompts, with a LoRA and without,
every seventh stopped on its way; asked for through the API, while a tab is open that follows them. What the page and the
worker hold is read between jobs.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from svd_ui.settings import REPOSITORY, Settings

from . import report
from .page_app import MB, App, running
from .report import Row, finish
from .tab import Seen, Tab

ENDED = ("finished", "failed", "cancelled", "interrupted")
SMALL = {"checkpoint": "local:tiny", "num_inference_steps": 2}
LORA = {"loras": [{"name": "style", "weight": 0.5}]}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "wall": {"wall": {"seeds": 1, "motion_bucket_ids": [40, 200]}},
    "camera": {"method": {"kind": "camera", "camera": "push in"}},
    "loop": {"method": {"kind": "loop"}},
    "post": {"post": [{"kind": "boomerang"}, {"kind": "crossfade_loop", "overlap": 2}]},
    "LoRA": LORA,
    "still": {"prompt": "a cat"},
    "nano": {"checkpoint": "nano", "width": 64, "height": 64, "num_frames": 4},
}
STOPPED = 7
"""Every so many a job is cancelled on its way."""
PATIENCE = 600.0
LIMIT = 3.0
"""Percent that page and worker may grow."""
FEW = 2.0
"""Handles and threads more that are no leak: a connection, a worker thread of a pool."""


def prepare(data: Path) -> dict[str, str]:
    """Models, a LoRA and the settings that name them."""
    from tests.engine.test_loras import write_lora
    from tests.tiny import save_tiny_svd, save_tiny_text_to_image

    settings = Settings(_env_file=None, data_dir=data)
    save_tiny_svd(settings.models_dir / "tiny")
    save_tiny_text_to_image(data / "stills")
    write_lora(settings)
    return {"text_to_image": str(data / "stills"), "max_queue": "10"}


@dataclass
class Held:
    """What a process holds, once for each job. ``find`` gives the one that stands in its place once it is replaced."""

    find: Callable[[], psutil.Process]
    process: psutil.Process | None = None
    replaced: int = -1
    memory: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def read(self) -> None:
        """Note what it holds now; a new process begins anew, since its memory says nothing about the last one's."""
        if self.process is None or not self.process.is_running():
            self.process, self.replaced = self.find(), self.replaced + 1
            self.memory, self.handles, self.threads = [], [], []
        self.memory.append(self.process.memory_info().rss / MB)
        self.handles.append(self.process.num_fds())
        self.threads.append(self.process.num_threads())

    def rows(self, name: str, settle: int) -> list[Row]:
        """Growth from after job ``settle`` to the end, each as the median of a tenth."""
        settle = min(settle, len(self.memory) // 2)
        tenth = max(1, len(self.memory) // 10)
        first, last = statistics.median(self.memory[settle:][:tenth]), statistics.median(self.memory[-tenth:])
        slope = 100 * statistics.linear_regression(range(len(self.memory) - settle), self.memory[settle:]).slope
        course = " ".join(f"{mb:.0f}" for mb in self.memory[:: max(1, len(self.memory) // 8)])
        note = f"{first:.0f} MB to {last:.0f}, {slope:+.2f} MB in 100 jobs; {course}"
        counted = (("open files", self.handles), ("threads", self.threads))
        return [
            Row(f"{name}: memory", 100 * (last / first - 1), "% more", at_most=LIMIT, note=note),
            *(
                Row(
                    f"{name}: {what}",
                    _more(counts, settle, tenth),
                    "more",
                    at_most=FEW,
                    note=f"{counts[-1]} at the end",
                )
                for what, counts in counted
            ),
        ]


def _more(counts: list[int], settle: int, tenth: int) -> float:
    return statistics.median(counts[-tenth:]) - statistics.median(counts[settle:][:tenth])


class Soak:
    """One tab, one program, and what the page and its worker hold meanwhile."""

    def __init__(self, app: App) -> None:
        from gradio_client import Client

        host, port = app.url.removeprefix("http://").split(":")
        self.seen, self.client = Seen(), Client(app.url, verbose=False)
        self.tab = Tab(host, int(port), self.seen)
        self.page, self.worker = Held(lambda: app.process), Held(app.worker)
        self.states: Counter[str] = Counter()

    async def run(self, jobs: int, seconds: float) -> None:
        """At most so many, begun within so many seconds."""
        plan = await self.tab.open()
        if plan is None:
            raise SystemExit("the page cannot be opened")
        tick, slow = plan.timer(always=False), plan.timer(always=True)
        until = time.monotonic() + seconds
        for number in range(jobs):
            if time.monotonic() > until:
                break
            id = await asyncio.to_thread(self._submit, number)
            await self._ended(id, tick, stops=number % STOPPED == STOPPED - 1)
            await self.tab.run("now and then", slow)
            await self.tab.ask("history", "GET", "/svd/history")
            self.page.read()
            self.worker.read()
        self.tab.close()

    def _submit(self, number: int) -> str:
        from gradio_client import handle_file

        values: dict[str, Any] = {**SMALL, "seed": number, **list(KINDS.values())[number % len(KINDS)]}
        if number % STOPPED == STOPPED - 1:
            values["num_inference_steps"] = 20
        if "prompt" not in values:
            values["image"] = handle_file(str(REPOSITORY / "assets" / "examples" / "astronaut.jpg"))
        return str(self.client.predict(api_name="/submit", **values)["id"])

    async def _ended(self, id: str, tick: dict[str, Any], stops: bool) -> None:
        """Follow a job to its end, and stop it on its way where that is meant."""
        end, state, found = time.monotonic() + PATIENCE, "", dict[str, Any]()
        while state not in ENDED and time.monotonic() < end:
            told = await self.tab.ask("status", "GET", f"/svd/status/{id}")
            found = told.json() if told is not None else {}
            state = found.get("state", "")
            if stops and state in ("denoising", "decoding"):
                stops = False
                await self.tab.ask("stop", "POST", "/svd/queue", {"do": "stop", "id": id})
            await self.tab.run("tick", tick)
            await asyncio.sleep(0.2)
        self.states[state] += 1
        if state not in ("finished", "cancelled"):
            self.seen.errors[f"{state}: {found.get('error')}"] += 1


def rows(soak: Soak, settle: int) -> list[Row]:
    errors = ", ".join(f"{count} x {what}" for what, count in soak.seen.errors.most_common(3))
    jobs = sum(soak.states.values())
    note = ", ".join(f"{count} {state}" for state, count in soak.states.items())
    return [
        Row("jobs", jobs, note=f"{note}; compared from job {settle} on, or the middle"),
        Row("workers replaced", soak.worker.replaced, note="a job that did not stop within two seconds"),
        Row("errors", sum(soak.seen.errors.values()), at_most=0, note=errors[:300]),
        *soak.page.rows("page", settle),
        *soak.worker.rows("worker", settle),
    ]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--settle", type=int, default=50, help="compare from this job on")
    parser.add_argument("--minutes", type=float, default=240.0, help="begin no more jobs after so long")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="svd-ui-soak-", ignore_cleanup_errors=True) as folder:
        data = Path(folder)
        with running(data, "real", **prepare(data)) as app:
            soak = Soak(app)
            asyncio.run(soak.run(given.jobs, given.minutes * 60))
            found = rows(soak, given.settle)
    finish("soak", f"{os.cpu_count()} processors", found, given.json, jobs=given.jobs, load_average=os.getloadavg())


if __name__ == "__main__":
    main()
