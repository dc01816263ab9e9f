"""Where a clip of the command line is made: by a live server on the same data folder, else by a worker of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import cached_property
from typing import Self

from ..catalog import CheckpointRow, find_checkpoint
from ..engine import Device, Engine
from ..errors import Interrupted
from ..events import ENDED
from ..hub import Hub, choose
from ..jobs import Job
from ..jobs.compose import devices
from ..jobs.service import JobService, server_alive
from ..request import GenerationRequest
from ..settings import Settings

OWNER = "cli"
EngineFactory = Callable[[Settings], Engine]
_POLL = 0.2
_SERVER_POLL = 5.0
_DEVICE_SECONDS = 60.0


def own_worker(settings: Settings) -> Engine:
    """One supervised worker on the first of ``SVD_UI_DEVICES``; it holds the lock of its device while it works."""
    from ..engine.worker import WorkerEngine

    return WorkerEngine(settings, devices(settings)[0])


class Runner:
    """A context manager around the job service. ``factory`` makes the engine when no server is running."""

    def __init__(self, settings: Settings, factory: EngineFactory | None = None) -> None:
        self.settings = settings
        self.hub = Hub(settings)
        self.served = server_alive(settings)
        self._engine = None if self.served else (factory or own_worker)(settings)
        self.jobs = JobService(settings, self._engine or (), slots=False, role="reader" if self.served else "cli")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.jobs.close()

    def row(self, id: str) -> CheckpointRow:
        """The row a request's checkpoint means; the device is asked only where the answer depends on it."""
        if id != "auto":
            return find_checkpoint(self.settings, id)
        on_cpu = choose(self.settings, self.hub, "cpu", None)
        if choose(self.settings, self.hub, "cuda", None) == on_cpu:
            return on_cpu
        device = self._device
        return choose(self.settings, self.hub, device.kind, device.total_bytes) if device else on_cpu

    @cached_property
    def _device(self) -> Device | None:
        """The device, waited for while the worker starts."""
        if self._engine is not None and self.jobs.describe() is None:
            getattr(self._engine, "start", lambda: None)()
        end = time.monotonic() + _DEVICE_SECONDS
        while (device := self.jobs.describe()) is None and time.monotonic() < end:
            time.sleep(_POLL)
        return device

    def run(self, request: GenerationRequest, show: Callable[[Job], None]) -> Job:
        """Make the clip and return the ended job; Ctrl+C cancels it. ``show`` hears of every change."""
        return self._run_there(request, show) if self.served else self._run_here(request, show)

    def _run_here(self, request: GenerationRequest, show: Callable[[Job], None]) -> Job:
        job: Job | None = None
        changes = self.jobs.run_inline(request, OWNER)
        try:
            for job in changes:
                show(job)
        except KeyboardInterrupt:
            if job is None:
                raise
            if isinstance(changes, Generator):
                changes.close()  # cancels the job
        assert job is not None, "a job is told at least once"
        return self.jobs.get(job.id)

    def _run_there(self, request: GenerationRequest, show: Callable[[Job], None]) -> Job:
        job = self.jobs.submit(request, OWNER)
        looked = time.monotonic()
        try:
            while job.state not in ENDED:
                show(job)
                if time.monotonic() - looked > _SERVER_POLL:
                    looked = time.monotonic()
                    if not server_alive(self.settings):
                        self.jobs.cancel(job.id)
                        raise Interrupted()
                job = self.jobs.wait(job.id, _POLL)
        except KeyboardInterrupt:
            self.jobs.cancel(job.id)
            job = self.jobs.wait(job.id, 10)
            return job if job.state in ENDED else job.model_copy(update={"state": "cancelled"})
        return job
