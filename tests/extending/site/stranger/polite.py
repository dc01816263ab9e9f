"""Another way to run in one file: an engine that lets nobody else wait, because it works at night only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from svd_ui.engine import CancelToken, Device, Engine, Estimate, Timed
from svd_ui.errors import Cancelled
from svd_ui.events import Event, Loading
from svd_ui.request import GenerationRequest


class PoliteEngine:
    """Waits until ``may_work()`` before each clip, then hands it to ``engine``."""

    def __init__(self, engine: Engine, may_work: Callable[[], bool]) -> None:
        self.engine, self.may_work = engine, may_work

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        while not self.may_work():
            if cancel.is_set():
                raise Cancelled()
            yield Loading(checkpoint=request.checkpoint, title="tonight")
        yield from self.engine.generate(request, out, cancel)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self.engine.make_still(request, out, cancel)

    def describe(self) -> Device | None:
        return self.engine.describe()

    def prepare(self, checkpoint: str | None) -> None:
        self.engine.prepare(checkpoint)

    def estimate(self, request: GenerationRequest) -> Estimate:
        return self.engine.estimate(request)

    def expect(self, clips: int) -> None:
        self.engine.expect(clips)

    def benchmark(self) -> list[Timed]:
        return self.engine.benchmark()

    def release(self) -> None:
        self.engine.release()

    def close(self) -> None:
        self.engine.close()
