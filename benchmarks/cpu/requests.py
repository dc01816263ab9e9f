"""A warm process: what a second request loads, how soon a clip stops, whether memory stays flat, what a preview costs."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from svd_ui.assets import Assets
from svd_ui.catalog import CheckpointRow, nano_row
from svd_ui.core.decode import preview
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Models, Runtime
from svd_ui.engine import CancelToken, never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.errors import Cancelled
from svd_ui.events import Denoising
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

from ..report import Row
from .click_to_clip import STILL

SETTLED = 10
"""Clips after which memory is taken to have settled."""


class Counted(Models):
    """Counts the checkpoints read from disk."""

    loads = 0

    def _load(self, row: CheckpointRow, folder: Path, plan: Plan) -> Runtime:
        self.loads += 1
        return super()._load(row, folder, plan)


@dataclass(frozen=True)
class Warm:
    """nano in this process, and a still."""

    engine: LocalEngine
    models: Counted
    image: str
    out: Path

    def clip(self, cancel: CancelToken | None = None, **values: Any) -> Iterator[Denoising]:
        """The steps of one clip as they happen."""
        request = GenerationRequest.model_validate({"image": self.image, "checkpoint": "nano", "seed": 0, **values})
        for event in self.engine.generate(request, self.out, cancel or never()):
            if isinstance(event, Denoising):
                yield event


@contextmanager
def warm() -> Iterator[Warm]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        stages, models = Stages(settings), Counted()
        stages._models = models
        engine = LocalEngine(settings, stages=stages)
        engine.prepare(None)  # as a worker does when it starts
        yield Warm(engine, models, Assets.of(settings).add(STILL).ref, Path(folder) / "out")
        engine.close()


def rows(runs: int = 50) -> list[Row]:
    with warm() as process:
        steps = _second_request(process)
        first = process.models.loads
        step = statistics.median(seconds for seconds in steps if seconds)
        return [
            Row("second request, checkpoints loaded", process.models.loads - first, at_most=0),
            *_preview(step),
            _cancel(process, step),
            _memory(process, runs),
        ]


def _second_request(process: Warm) -> list[float]:
    """Seconds of the steps of the second clip."""
    for _ in process.clip():
        pass
    return [event.seconds or 0.0 for event in process.clip(seed=1)]


def _preview(step: float, rounds: int = 50) -> list[Row]:
    """A preview of nano beside nano's step, which is the shortest step there is."""
    row = nano_row()
    patch = row.size_multiple
    latents = torch.randn(1, row.num_frames, len(row.preview), row.height // patch, row.width // patch)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        preview(row, latents)
        seconds.append(time.perf_counter() - started)
    took = statistics.median(seconds)
    return [
        Row("nano, step", step, "s"),
        Row("preview, of nano's step", 100 * took / step, "%", at_most=2, note=f"{took * 1e3:.2f} ms"),
    ]


def _cancel(process: Warm, step: float, tries: int = 7) -> Row:
    """From asking to stop, somewhere within the third step, until the engine has let go; in steps of the same clip."""
    waits = []
    for number in range(tries):
        cancel, asked = threading.Event(), [0.0]

        def ask(cancel: threading.Event = cancel, asked: list[float] = asked) -> None:
            asked[0] = time.perf_counter()
            cancel.set()

        timer = threading.Timer(step * (number + 0.5) / tries, ask)
        seconds = []
        try:
            for event in process.clip(cancel):
                seconds.append(event.seconds or step)
                if event.step == 2:
                    timer.start()
        except Cancelled:
            waits.append((time.perf_counter() - asked[0]) / statistics.mean(seconds))
    note = f"longest {max(waits):.2f}, {len(waits)} of {tries} tries stopped"
    return Row("cancel, median wait", statistics.median(waits), "steps", at_most=1, note=note)


def _memory(process: Warm, clips: int) -> Row:
    """Resident memory of the last clips over those after the first ``SETTLED``."""
    me, resident = psutil.Process(), []
    for number in range(clips):
        for _ in process.clip(seed=number, num_inference_steps=2):
            pass
        resident.append(me.memory_info().rss)
    few = max(1, min(SETTLED, clips // 3))
    settled, last = statistics.median(resident[few : 2 * few]), statistics.median(resident[-few:])
    note = f"{settled / 1e6:.0f} to {last / 1e6:.0f} MB"
    return Row(f"memory over {clips} clips, growth", 100 * (last / settled - 1), "%", at_most=2, note=note)
