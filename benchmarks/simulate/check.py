"""Predicted against observed: the simulation beside a real queue with real workers on nano.

    python -m benchmarks.simulate.check               one worker, then two; some six minutes

Clips of nano are made by one and by two worker processes; each of their steps is slowed by a nap, so that two workers on a machine
of few cores do not take each other's time. The simulation has the same visitors at the same moments. It is given how long a
step and what lies around the steps took on average in that run, as a size would be reckoned from them; and once how long
each clip took, which leaves nothing but the queue to be right or wrong.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from svd_ui.assets import Assets
from svd_ui.engine import worker
from svd_ui.engine.worker import WorkerEngine
from svd_ui.jobs import Job
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings

from .. import report
from ..report import Row, finish
from .nap import slowed
from .queue_model import Fleet, Simulation
from .visitors import DAY, Arrival, Kind, Visitors, arrivals

STEPS = {"short": 3, "long": 9}
CLIPS, LOAD, OWNERS, SEED = 40, 0.8, 6, 11
PICTURE = REPOSITORY / "assets" / "examples" / "mountains.jpg"


@dataclass(frozen=True)
class Measured:
    """Seconds of a step, and of what lies around the steps."""

    step: float
    around: float

    def of(self, steps: int) -> float:
        return self.around + steps * self.step


class Bench:
    """A queue with so many workers on the processor. They do not take turns on it, as two workers of one device would."""

    def __init__(self, workers: int, folder: Path) -> None:
        self.settings = Settings(data_dir=folder, checkpoint="nano", devices="cpu", max_queue=1000, _env_file=None)
        setattr(worker, "device_lock", lambda *_: nullcontext())  # noqa: B010
        self._engines = [WorkerEngine(self.settings, "cpu", factory=slowed) for _ in range(workers)]
        self.jobs = JobService(self.settings, self._engines)
        self._image = Assets.of(self.settings).add(PICTURE).ref

    def __enter__(self) -> Bench:
        for engine in self._engines:
            engine.start()
        self.jobs.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.jobs.close()

    def ask(self, owner: str, steps: int) -> str:
        small: dict[str, Any] = {"width": 256, "height": 144, "num_frames": 4}
        request = GenerationRequest(image=self._image, checkpoint="nano", num_inference_steps=steps, seed=1, **small)
        return self.jobs.submit(request, owner).id

    def ended(self, ids: Sequence[str]) -> list[Job]:
        jobs = [self.jobs.wait(id, 600) for id in ids]
        assert all(job.state == "finished" for job in jobs), [job.error for job in jobs]
        return jobs

    def roughly(self, workers: int) -> Measured:
        """As many clips at once as there are workers: enough to say how often visitors may come."""
        self.ended([self.ask(f"warm {n}", 3) for n in range(workers * 2)])
        jobs = [
            job for steps in STEPS.values() for job in self.ended([self.ask(f"m {n}", steps) for n in range(workers)])
        ]
        return measured(jobs)


def took(job: Job) -> float:
    """Seconds from its beginning to its end."""
    return (job.ended or 0.0) - (job.started or 0.0)


def measured(jobs: Sequence[Job]) -> Measured:
    """The mean step, and the mean of what lies around the steps."""
    steps = np.array([job.request.num_inference_steps for job in jobs], float)
    (step, around), *_ = np.linalg.lstsq(
        np.stack([steps, np.ones_like(steps)], 1), np.array([took(job) for job in jobs])
    )
    return Measured(float(step), float(around))


def coming(seen: Measured, workers: int) -> list[Arrival]:
    """The visitors: as many clips as keep the workers busy for ``LOAD`` of the time."""
    kinds = [Kind(name, "nano", seen.of(steps), 0.5, steps) for name, steps in STEPS.items()]
    days = CLIPS * float(np.mean([kind.seconds for kind in kinds])) / (LOAD * workers) / DAY
    return arrivals(Visitors(OWNERS, CLIPS / days / OWNERS, kinds, 1 / 24, {1: 0.7, 3: 0.3}), days, SEED)


def made(bench: Bench, asked: Sequence[Arrival]) -> list[Job]:
    """The same clips of a real queue, asked for at the same moments."""
    begin, ids = time.monotonic(), []
    for one in asked:
        time.sleep(max(0.0, begin + one.at - time.monotonic()))
        ids.append(bench.ask(str(one.owner), one.kind.steps))
    return bench.ended(ids)


def predicted(asked: Sequence[Arrival], seconds: Sequence[float], workers: int) -> np.ndarray:
    """How long each clip waits by the simulation, where it takes that many seconds."""
    given = [replace(one, seconds=each) for one, each in zip(asked, seconds, strict=True)]
    return Simulation(given, Fleet(workers, workers, load_seconds=0)).run().waits


def compared(workers: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, Bench(workers, Path(folder)) as bench:
        asked = coming(bench.roughly(workers), workers)
        jobs = made(bench, asked)
    seen, waits = measured(jobs), np.array([(job.started or 0) - job.created for job in jobs])
    own = predicted(asked, [took(job) for job in jobs], workers)
    mean = predicted(asked, [seen.of(one.kind.steps) for one in asked], workers)
    name, about = f"{workers} worker{'s' * (workers > 1)}", f"{len(asked)} clips, a step {seen.step:.2f} s"
    rows = []
    for what, of in (("mean wait", np.mean), ("95 % wait at most", lambda values: np.percentile(values, 95))):
        true = float(of(waits))
        rows.append(Row(f"{name}, {what}, observed", round(true, 2), "s", note=about))
        for how, guess, within in (("its own seconds", own, 0.1), ("the mean step", mean, 0.25)):
            said = float(of(guess))
            note = f"{said:.2f} s"
            limits = {"at_most": 1 + within, "at_least": 1 - within}
            rows.append(Row(f"{name}, {what}, predicted from {how}", round(said / true, 3), "x", **limits, note=note))
    return rows


def main(arguments: list[str] | None = None) -> None:
    args = report.parser(__doc__).parse_args(arguments)
    rows = [row for workers in (1, 2) for row in compared(workers)]
    finish("simulate.check", "this machine's processor", rows, args.json)


if __name__ == "__main__":
    main()
