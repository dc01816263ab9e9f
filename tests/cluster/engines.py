"""Engines for replicas of the tests: built in the worker of a replica, by name, without torch."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from svd_ui.engine import CancelToken, Engine
from svd_ui.engine.progress import KEPT
from svd_ui.errors import Cancelled
from svd_ui.events import Denoising, Event, Loading, WentOn
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine


class KeepingEngine(FakeEngine):
    """Keeps every step, and goes on from the one it finds. A prompt of one word does what that word says, after its first step."""

    def __init__(self, steps: int, delay: float, settings: Settings) -> None:
        super().__init__(steps, delay, settings=settings)
        self._usual = delay

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        self.device = self.device.model_copy(
            update={"loaded_checkpoint": request.checkpoint, "name": str(os.getppid())}
        )
        self.delay = 1.0 if request.prompt == "slowly" else self._usual
        yield Loading(checkpoint=request.checkpoint)
        kept = out / KEPT / "step.json"
        total = request.num_inference_steps or self.steps
        step = int(json.loads(kept.read_text("utf-8"))["step"]) if kept.is_file() else 0
        if step:
            yield WentOn(stage="denoising", step=step, total=total, note=Note.of("went_on", step=step, total=total))
        while step < total:
            self._wait(cancel)
            step += 1
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"step": step}), "utf-8")
            yield Denoising(step=step, total=total, seconds=self.delay)
            if request.prompt == "kills":
                os.kill(os.getppid(), signal.SIGKILL)
                raise Cancelled()
        for event in super().generate(request.model_copy(update={"num_inference_steps": 1}), out, cancel):
            if not isinstance(event, Loading | Denoising):
                yield event


def keeping(settings: Settings, device: str | None) -> KeepingEngine:
    return KeepingEngine(steps=4, delay=0.1, settings=settings)


def unhurried(settings: Settings, device: str | None) -> Engine:
    """The real engine, that keeps each of its steps and takes its time for them."""
    from svd_ui.engine import progress
    from svd_ui.engine.local import LocalEngine

    progress.KEEP_SECONDS = 0.0

    class Unhurried(LocalEngine):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            for event in super().generate(request, out, cancel):
                yield event
                if isinstance(event, Denoising):
                    time.sleep(1.0)

    return Unhurried(settings.model_copy(update={"number_format": "float32"}), device)
