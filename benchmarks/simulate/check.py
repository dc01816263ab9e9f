"""Predicted against observed: the simulation beside a real queue with real workers on nano.

    python -m benchmarks.simulate.check               one worker, then two; some six minutes

Clips of nano are made by one and by two worker processes; each of their steps is slowed by a nap, so that two workers on a machine
of few cores do not take each other's time. Visitors come as in the simulation, with the same seed. The simulation is
given how long a step, and what lies around the steps, took in a few clips before; it does not see the run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
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
from .queue_model import Fleet, Outcome, Simulation
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

    def measured(self, workers: int) -> Measured:
        """As many clips at once as there are workers, so that they are what they are beside each other."""
        self.ended([self.ask(f"warm {n}", 3) for n in range(workers * 2)])
        took = {}
        for steps in STEPS.values():
            jobs = [job for _ in range(3) for job in self.ended([self.ask(f"m {n}", steps) for n in range(workers)])]
            took[steps] = float(np.median([(job.ended or 0) - (job.started or 0) for job in jobs]))
        (few, short), (many, long) = sorted(took.items())
        step = (long - short) / (many - few)
        return Measured(step, short - few * step)


def coming(seen: Measured, workers: int) -> list[Arrival]:
    """The visitors: as many clips as keep the workers busy for ``LOAD`` of the time."""
    kinds = [Kind(name, "nano", seen.of(steps), 0.5, steps) for name, steps in STEPS.items()]
    days = CLIPS * float(np.mean([kind.seconds for kind in kinds])) / (LOAD * workers) / DAY
    return arrivals(Visitors(OWNERS, CLIPS / days / OWNERS, kinds, 1 / 24, {1: 0.7, 3: 0.3}), days, SEED)


def observed(bench: Bench, asked: Sequence[Arrival]) -> np.ndarray:
    """Seconds that each clip waited, as its row says."""
    begin, ids = time.monotonic(), []
    for one in asked:
        time.sleep(max(0.0, begin + one.at - time.monotonic()))
        ids.append(bench.ask(str(one.owner), one.kind.steps))
    return np.array([(job.started or 0) - job.created for job in bench.ended(ids)])


def compared(workers: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, Bench(workers, Path(folder)) as bench:
        seen = bench.measured(workers)
        asked = coming(seen, workers)
        said: Outcome = Simulation(asked, Fleet(workers, workers, load_seconds=0)).run()
        waits = observed(bench, asked)
    name, about = f"{workers} worker{'s' * (workers > 1)}", f"{len(asked)} clips; a step {seen.step:.2f} s"
    rows = []
    for what, true, guess in (
        ("mean wait", float(np.mean(waits)), float(np.mean(said.waits))),
        ("95 % wait at most", float(np.percentile(waits, 95)), said.wait(95)),
    ):
        rows.append(Row(f"{name}, {what}, observed", round(true, 2), "s", note=about))
        rows.append(Row(f"{name}, {what}, predicted", round(guess, 2), "s"))
        rows.append(Row(f"{name}, {what}, predicted over observed", round(guess / true, 3), "x", 1.25, 0.8))
    return rows


def main(arguments: list[str] | None = None) -> None:
    args = report.parser(__doc__).parse_args(arguments)
    rows = [row for workers in (1, 2) for row in compared(workers)]
    finish("simulate.check", "this machine's processor", rows, args.json)


if __name__ == "__main__":
    main()
