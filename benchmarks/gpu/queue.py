"""A queue with one worker on the card, around a checkpoint that lies on the disk: what weights in memory cannot show.

How long a worker takes to start and to load, what keeping a step costs, how soon a pause frees the card's memory, whether a
clip that was paused or killed goes on from its step and ends the same, and how soon one that is cancelled is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from svd_ui.assets import Assets
from svd_ui.catalog import find_checkpoint
from svd_ui.engine import CancelToken, Engine
from svd_ui.engine.worker import WorkerEngine
from svd_ui.events import Event
from svd_ui.jobs import Job
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from ..accelerator import GIB
from ..ours import relative_difference, still, write_folder
from ..report import Row
from ..stock import Weights
from .bench import FEW, Bench
from .kept import why

ORDINARY, EVERY, NEVER = 0, 1, 2
"""Seeds, by which ``keeping`` tells how often a clip's steps are kept."""
WORKER_KEEPS = 1 * GIB
"""What a process with nothing loaded holds of a card: its context, less than that."""
LONGEST, POLL = 300.0, 0.005
SCENES = ("start", "cold", "warm", "whole", "keeping", "paused", "killed", "cancelled")


def keeping(settings: Settings, device: str | None) -> Engine:
    """What the worker runs: the real engine, whose steps are kept as often as the seed says."""
    from svd_ui.engine import progress
    from svd_ui.engine.local import LocalEngine

    ordinary = progress.KEEP_SECONDS

    class Keeping(LocalEngine):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            progress.KEEP_SECONDS = {EVERY: 0.0, NEVER: LONGEST}.get(request.seed or 0, ordinary)
            return super().generate(request, out, cancel)

    return Keeping(settings, device)


class Queue:
    """The page's queue without the page."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        from benchmarks.gpu import queue  # by its name, as the worker finds it

        self.bench, self.config = bench, bench.config
        device = str(bench.accelerator.device)
        self.settings = Settings(_env_file=None, data_dir=folder, devices=device, max_queue=1000)
        self._write()
        self.row = find_checkpoint(self.settings, f"local:{self.config.name}")
        self.engine = WorkerEngine(self.settings, device, factory=queue.keeping)
        self.jobs = JobService(self.settings, self.engine)
        self.before = self.used()
        self.reference: Job | None = None

    def _write(self) -> None:
        """Real files of random weights; none of them in memory afterwards."""
        weights = Weights(self.config, self.bench.accelerator.device, self.bench.accelerator.dtype)
        folder = self.settings.models_dir / self.config.name
        write_folder(folder, self.config, weights, holes=False)
        del weights
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for file in folder.rglob("*.safetensors"):
            with file.open("rb") as data:
                os.fsync(data.fileno())
                os.posix_fadvise(data.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def used(self) -> int | None:
        """Bytes of the card that somebody holds; None for a processor."""
        if self.bench.accelerator.device.type != "cuda":
            return None
        free, total = torch.cuda.mem_get_info(self.bench.accelerator.device)
        return total - free

    def ask(self, steps: int, seed: int = ORDINARY) -> str:
        image = Assets.of(self.settings).keep(still(self.config))
        request = GenerationRequest(image=image, checkpoint=self.row.id, seed=seed, num_inference_steps=steps)
        return self.jobs.submit(request, "bench").id

    def made(self, steps: int, seed: int = ORDINARY) -> Job:
        return self.ended(self.ask(steps, seed))

    def ended(self, id: str) -> Job:
        job = self.jobs.wait(id, LONGEST)
        assert job.state == "finished", (job.state, job.message, job.error)
        return job

    def at_step(self, id: str, step: int) -> int:
        """The step that is seen first from ``step`` on."""

        def reached() -> int | None:
            job = self.jobs.get(id)
            assert job.state not in ("failed", "finished", "cancelled"), (job.state, job.message)
            return job.step if job.state == "denoising" and (job.step or 0) >= step else None

        found, _ = until(reached)
        return int(found)

    def same(self, job: Job) -> dict[str, Any]:
        """``job`` against the clip that nothing happened to."""
        assert self.reference is not None
        ours, theirs = ([self.jobs.file(each, name) for name in ("latents", "video")] for each in (job, self.reference))
        assert all((*ours, *theirs))
        mine, other = (load_file(str(files[0]))["latents"].float() for files in (ours, theirs))
        equal = ours[1].read_bytes() == theirs[1].read_bytes()  # type: ignore[union-attr]
        return {"latents": relative_difference(mine, other), "equal": bool(torch.equal(mine, other)) and equal}

    # What is measured

    def start(self) -> dict[str, Any]:
        """Until a new process has imported everything and looked at its card."""
        self.engine.start()
        device, seconds = until(self.engine.describe)
        assert device is not None and not self.engine.trouble, self.engine.trouble
        self.engine.prepare(None)  # what the page asks for too: measured choices are made before the first clip
        self.jobs.start()
        return {"seconds": seconds}

    def loading(self) -> dict[str, Any]:
        began = time.monotonic()
        job = self.made(FEW)
        assert job.result is not None
        return {"loading": job.result.seconds["loading"], "seconds": time.monotonic() - began}

    def warm(self) -> dict[str, Any]:
        """Another process loads what the system's cache still holds, as after a death."""
        assert self.engine.pid is not None
        os.kill(self.engine.pid, signal.SIGKILL)
        until(lambda: self.engine.pid is None)
        return self.loading()

    def whole(self) -> dict[str, Any]:
        self.reference = job = self.made(self.config.num_inference_steps)
        assert job.result is not None
        return {"stages": job.result.seconds, "again": self.same(self.made(self.config.num_inference_steps))}

    def keeping(self) -> dict[str, Any]:
        """Seconds of a step with every step kept, over those with none; the clips take turns."""
        seconds: dict[int, list[float]] = {EVERY: [], NEVER: []}
        steps = max(2, self.config.num_inference_steps // 2)
        for seed in (NEVER, EVERY, EVERY, NEVER):
            result = self.made(steps, seed).result
            assert result is not None
            seconds[seed].append(result.seconds["denoising"] / steps)
        return {"every": seconds[EVERY], "never": seconds[NEVER]}

    def paused(self) -> dict[str, Any]:
        """A pause in the middle, until the worker holds nothing of the card; then the clip goes on."""
        id = self.ask(self.config.num_inference_steps)
        self.at_step(id, self.config.num_inference_steps // 3 + 1)
        held = self.used()
        began = time.monotonic()
        self.jobs.queue.pause()
        until(lambda: self.jobs.get(id).state == "queued")
        stopped = time.monotonic() - began
        until(lambda: self._is_free() or None)
        freed = time.monotonic() - began
        left = self.used()
        time.sleep(1)
        self.jobs.queue.resume()
        began = time.monotonic()
        step = self.at_step(id, 1)
        return {
            "stopped": stopped,
            "freed": freed,
            "held": None if held is None else held - (self.before or 0),
            "left": None if left is None else left - (self.before or 0),
            "first_step": step,
            "on": time.monotonic() - began,
            **self.same(self.ended(id)),
        }

    def _is_free(self) -> bool:
        used = self.used()
        device = self.engine.describe()
        return device is None or (
            device.loaded_checkpoint is None if used is None else used - (self.before or 0) < WORKER_KEEPS
        )

    def killed(self) -> dict[str, Any]:
        id = self.ask(self.config.num_inference_steps)
        before = self.at_step(id, self.config.num_inference_steps // 2)
        assert self.engine.pid is not None
        os.kill(self.engine.pid, signal.SIGKILL)
        began = time.monotonic()
        until(lambda: self.jobs.get(id).state != "denoising" or None)
        step = self.at_step(id, 1)
        return {"at": before, "first_step": step, "on": time.monotonic() - began, **self.same(self.ended(id))}

    def cancelled(self) -> dict[str, Any]:
        id = self.ask(self.config.num_inference_steps)
        self.at_step(id, self.config.num_inference_steps // 4)
        pid, began = self.engine.pid, time.monotonic()
        self.jobs.cancel(id)
        job = self.jobs.wait(id, LONGEST)
        assert job.state == "cancelled", job.state
        return {"seconds": time.monotonic() - began, "same_process": self.engine.pid == pid}


def until(condition: Callable[[], Any], seconds: float = LONGEST) -> tuple[Any, float]:
    """What ``condition`` returned first that is neither None nor False, and the seconds until then."""
    began = time.monotonic()
    while (found := condition()) is None or found is False:
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(POLL)
    return found, time.monotonic() - began


@contextmanager
def queue_of(bench: Bench) -> Iterator[Queue]:
    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(bench, Path(folder))
        try:
            yield queue
        finally:
            queue.jobs.close()


def measure(bench: Bench) -> None:
    kept = bench.kept
    if all(kept.good(f"queue/{scene}") for scene in SCENES):
        return
    for scene in SCENES:  # one needs what the one before it left
        kept.measured.pop(f"queue/{scene}", None)
    with queue_of(bench) as queue:
        ways = {scene: getattr(queue, scene) for scene in SCENES if scene != "cold"} | {"cold": queue.loading}
        for scene in SCENES:
            kept.once(f"queue/{scene}", ways[scene])


def rows(bench: Bench) -> list[Row]:
    found = {scene: bench.kept.good(f"queue/{scene}") for scene in SCENES}

    def row(
        what: str, scene: str, value: Callable[[Any], Any], unit: str = "s", note: Any = None, **limits: Any
    ) -> Row:
        figure = found[scene]
        if figure is None:
            return Row(what, None, unit, note=why(bench.kept.measured.get(f"queue/{scene}")), **limits)
        return Row(what, value(figure), unit, note="" if note is None else note(figure), **limits)

    def went(figure: Any) -> str:
        return f"step {figure['first_step']} seen first; latents differ by {figure['latents']:.1e}"

    return [
        row("a new worker, until it knows its card", "start", lambda f: f["seconds"]),
        row("loading from the disk", "cold", lambda f: f["loading"]),
        row("loading what the system has in its cache, another process", "warm", lambda f: f["loading"]),
        row("from a killed worker to the end of a clip of two steps", "warm", lambda f: f["seconds"]),
        row("a clip through the queue", "whole", lambda f: f["stages"]["total"], note=lambda f: _stages(f["stages"])),
        row("the same clip again, latents", "whole", lambda f: f["again"]["latents"], ""),
        row("keeping every step, of a step", "keeping", _share, "%", at_most=1.0),
        row("paused: the clip has stopped", "paused", lambda f: f["stopped"]),
        row("paused: the card's memory is free", "paused", lambda f: f["freed"], note=_memory, at_most=2.0),
        row("resumed: its next step is done", "paused", lambda f: f["on"], note=went),
        row("paused and resumed: equal to the bit", "paused", lambda f: float(f["equal"]), "", at_least=1.0),
        row("killed: its next step is done", "killed", lambda f: f["on"], note=went),
        row("killed: equal to the bit", "killed", lambda f: float(f["equal"]), "", at_least=1.0),
        row("cancelled", "cancelled", lambda f: f["seconds"], note=lambda f: f"same process: {f['same_process']}"),
    ]


def _share(figure: Any) -> float:
    """Percent that a step takes longer by, the faster of two clips each."""
    return 100 * (min(figure["every"]) / min(figure["never"]) - 1)


def _memory(figure: Any) -> str:
    if figure["held"] is None:
        return ""
    return f"{figure['held'] / GIB:.1f} GiB while it ran, {figure['left'] / GIB:.2f} GiB then"


def _stages(stages: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items() if name != "total")
