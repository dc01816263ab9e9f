"""Kill -9 of the app, or of its worker, at random moments while clips are made: what is lost, what continues, what differs.

    python -m benchmarks.chaos --kills 300          the whole of it
    python -m benchmarks.chaos --minutes 2          as many as fit

Clips of nano and of a tiny SVD with many steps, each step kept and slowed to what a fraction of a real one takes, so that a
moment chosen at random lies in the middle of something. Most of the time would be imports: workers are forks of a process
that has done them, and several apps work side by side, each with its own folder. A second app on the same folder is started after each kill of the first. All
clips are made once without any kill before, and every file has to be that one, to the bit.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from svd_ui.events import ENDED
from svd_ui.jobs import Job
from svd_ui.jobs.queue import reached
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

from . import forked, report
from .chaos_app import STEP_SECONDS, STEPS, prepare, requests, settings_of
from .report import Row, finish

PATIENCE = 600.0


@dataclass
class Chaos:
    """Apps on one folder, one after the other, and what was seen of their jobs."""

    data: Path
    chance: random.Random
    kills: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    half: int = 0
    continued: list[bool] = field(default_factory=list)
    app: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.chaos_app", str(self.data)]
        self.app = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, running: Job) -> None:
        """The app with its worker, or the worker alone."""
        assert self.app is not None
        whole = self.chance.random() < 0.5
        worker = self._worker()
        if not whole and worker is None:
            return
        self.judge(running)
        self.kills.append(("app" if whole else "worker", running.id, running.state, running.step))
        print(
            f"{time.strftime('%T')} {self.data.name}: kill {len(self.kills)}",
            *self.kills[-1],
            file=sys.stderr,
            flush=True,
        )
        if worker is not None:
            _kill(worker)
        if whole:
            self.app.kill()
            self.app.wait()
            self.start()

    def _worker(self) -> int | None:
        """The process id of the app's worker, if there is one now."""
        try:
            pid = int((self.data / forked.PID).read_text())
            return pid if "benchmarks.forked" in " ".join(psutil.Process(pid).cmdline()) else None
        except (OSError, ValueError, psutil.Error):
            return None

    def judge(self, job: Job) -> None:
        """Whether ``job`` went on from the step at which it was killed last, where that was one and it is past it by now."""
        last = next((kill for kill in reversed(self.kills) if kill[1] == job.id), None)
        if last is None or last[2] != "denoising" or (last[3] or 0) < 2 or job.state in ("loading", "conditioning"):
            return
        self.continued.append(_continued(job, last[3] or 0))

    def is_ahead(self, job: Job) -> bool:
        """Whether it has come further than where it was killed before: a second time in one place, it is meant to fail."""
        places = [reached(state, step) for _, id, state, step in self.kills if id == job.id]
        return not places or reached(job.state, job.step) > max(places)

    def close(self) -> None:
        if self.app is not None:
            self.app.kill()
            self.app.wait()
        worker = self._worker()
        if worker is not None:
            _kill(worker)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for(store: JobService, jobs: list[Job]) -> list[Job]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        seen = [store.get(job.id) for job in jobs]
        if all(job.state in ENDED for job in seen):
            return seen
        time.sleep(0.2)
    return [store.get(job.id) for job in jobs]


@dataclass
class Outcome:
    """One folder's jobs as they ended, and what every file should have been."""

    settings: Settings
    chaos: Chaos
    ended: list[Job]
    expected: dict[Any, str]


def run(data: Path, kills: int, seconds: float, seed: int) -> Outcome:
    settings = settings_of(data)
    chaos = Chaos(data, random.Random(seed))
    with open_store(settings) as store:
        asked = requests(settings)
        chaos.start()
        try:
            expected = {}
            for job in wait_for(store, [store.submit(request, "chaos") for request in asked]):
                if job.state != "finished":
                    raise SystemExit(f"without a kill: {job.state} {job.message}")
                expected[what(job)] = digest(settings.jobs_dir / job.id / "clip.mp4")
            jobs = _killed(chaos, store, asked, kills, time.monotonic() + seconds)
            ended = wait_for(store, jobs)
        finally:
            chaos.close()
    for job in ended:
        if job.state == "finished":
            chaos.judge(job)
    return Outcome(settings, chaos, ended, expected)


def what(job: Job) -> tuple[str, int | None]:
    """What decides a clip here."""
    return job.request.checkpoint, job.request.seed


def _killed(chaos: Chaos, store: JobService, asked: list[GenerationRequest], kills: int, until: float) -> list[Job]:
    """Submit and kill until there were enough; all the jobs."""
    jobs: list[Job] = []
    while len(chaos.kills) < kills and time.monotonic() < until:
        if sum(store.get(job.id).state not in ENDED for job in jobs[-4:]) < 2:
            jobs.append(store.submit(chaos.chance.choice(asked), "chaos"))
        victim = _at(store, chaos.chance.choices(list(MOMENTS), list(MOMENTS.values()))[0], until)
        if victim is None:
            continue
        time.sleep(chaos.chance.uniform(0.0, STEP_SECONDS * STEPS / 2))
        victim = store.get(victim.id)
        if victim.position is None and victim.state not in ENDED and chaos.is_ahead(victim):
            chaos.kill(victim)
            chaos.half += _half_files(store, jobs)
    return jobs


MOMENTS = {"loading": 0.05, "conditioning": 0.05, "denoising": 0.7, "decoding": 0.15, "writing": 0.05}
"""Where in a clip to wait for, before a moment at random: by the clock alone it would be the start of a worker most times."""


def _at(store: JobService, stage: str, until: float) -> Job | None:
    """The job that comes into that stage next; None when none runs for a while."""
    end = min(until, time.monotonic() + 60)
    while time.monotonic() < end:
        job = next((job for job in store.queue.jobs() if job.position is None), None)
        if job is not None and job.state == stage:
            return job
        if not store.queue.jobs():
            return None
        time.sleep(0.03)
    return None


def _half_files(store: JobService, jobs: list[Job]) -> int:
    """Results under their final names that cannot be read."""
    from svd_ui.media.video import read_comment

    bad = 0
    for job in jobs:
        path = store.settings.jobs_dir / job.id / "clip.mp4"
        try:
            bad += path.is_file() and not read_comment(path)
        except Exception:
            bad += 1
    return bad


def rows(outcomes: list[Outcome]) -> list[Row]:
    kills = [kill for outcome in outcomes for kill in outcome.chaos.kills]
    ended = [job for outcome in outcomes for job in outcome.ended]
    finished = [job for job in ended if job.state == "finished"]
    twice = [job for job in ended if (job.error or {}).get("code") == "died_again"]
    lost = [job for job in ended if job not in finished and job not in twice]
    continued = [went for outcome in outcomes for went in outcome.chaos.continued]
    by = {name: sum(kill[0] == name for kill in kills) for name in ("app", "worker")}
    at = ", ".join(f"{sum(kill[2] == stage for kill in kills)} {stage}" for stage in MOMENTS)
    return [
        Row("kills", len(kills), note=f"{by['app']} of the app, {by['worker']} of the worker; {at}"),
        Row("jobs", len(ended), note=f"{len({kill[1] for kill in kills})} of them killed at least once"),
        Row("jobs lost", len(lost), at_most=0, note=", ".join(f"{job.state}: {job.message}" for job in lost)[:200]),
        Row("failed after a second death in one place", len(twice), note="with the reason, as meant"),
        Row("killed after some step and seen again", len(continued)),
        Row("went on from that step", 100 * sum(continued) / max(1, len(continued)), "%", at_least=95),
        Row("finished clips equal to the bit", 100 * _same(outcomes) / max(1, len(finished)), "%", at_least=100),
        Row("half files seen", sum(outcome.chaos.half for outcome in outcomes), at_most=0),
        Row("kept folders left beside finished clips", sum(map(_left, outcomes)), at_most=0),
    ]


def _clips(outcome: Outcome) -> list[tuple[Job, Path]]:
    """The finished jobs, each with its folder."""
    return [(job, outcome.settings.jobs_dir / job.id) for job in outcome.ended if job.state == "finished"]


def _same(outcomes: list[Outcome]) -> int:
    return sum(
        digest(folder / "clip.mp4") == outcome.expected[what(job)]
        for outcome in outcomes
        for job, folder in _clips(outcome)
    )


def _left(outcome: Outcome) -> int:
    return sum((folder / "kept").exists() for _, folder in _clips(outcome))


def _continued(job: Job, step: int) -> bool:
    """Whether it says that it went on from that step, or the one whose report had not arrived, or from its frames."""
    went = [note for note in job.notes if note.code == "went_on"]
    return bool(went) and int(went[-1].params["step"]) >= step - 1


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=240.0, help="kill no more after so long")
    parser.add_argument("--apps", type=int, default=4, help="so many side by side, each with a folder of its own")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="svd-ui-chaos-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(given.apps) as pool,
    ):
        tasks, parent = [], forked.start(Path(folder))
        for number in range(given.apps):
            data, kills = Path(folder) / str(number), len(range(number, given.kills, given.apps))
            prepare(data)  # here, one after the other: its weights come from torch's one source of chance
            tasks.append(pool.submit(run, data, kills, given.minutes * 60, given.seed * 1000 + number))
        try:
            found = rows([task.result() for task in tasks])
        finally:
            parent.kill()
    finish(
        "chaos",
        f"{os.cpu_count()} processors",
        found,
        given.json,
        kills=given.kills,
        minutes=given.minutes,
        apps=given.apps,
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
