"""What is told of a job while it is on its way: lines of the log, numbers for whoever watches, spans of a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..engine.telemetry import JobSpan
from ..errors import SvdUiError
from ..events import Denoising, Event, Finished, Loading, WentOn
from ..request import GenerationRequest
from . import Job, JobKind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobFacts:
    """A job as numbers are kept of it. ``device`` is blank for downloads."""

    id: str
    kind: JobKind
    checkpoint: str
    device: str


class Meter:
    """Is told of every job of this process; this one forgets it. Called from any thread."""

    def waited(self, work: JobFacts, seconds: float) -> None:
        """It was taken for the first time, so long after it was asked for."""

    def began(self, work: JobFacts) -> None: ...

    def loaded(self, work: JobFacts, seconds: float) -> None:
        """The weights were read; those that were in memory already tell nothing."""

    def step(self, work: JobFacts, seconds: float) -> None: ...

    def resumed(self, work: JobFacts) -> None:
        """It went on from what an earlier process had kept."""

    def died(self, kind: str, code: str) -> None:
        """Its process, or the disk, gave out under it: it waits again, or has failed."""

    def ended(self, work: JobFacts, state: str, code: str, seconds: float) -> None:
        """``state`` is queued where it was put back; ``code`` of its error, or blank."""


class Follower:
    """One job on its way; told by its recorder. ``waited`` in seconds, None for a job that had begun before.

    ``device`` is asked with the first event, when a worker that just started knows it, and the job has it for itself. ``warm`` is
    the checkpoint that was in memory before.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        job: Job,
        device: Callable[[], str] = str,
        waited: float | None = None,
        warm: str | None = None,
    ) -> None:
        self.meters, self.work = meters, JobFacts(job.id, job.kind, job.request.checkpoint, "")
        self._device, self._warm = device, warm
        self._waited, self._taken, self._began, self._ended = waited, time.monotonic(), False, False
        self._loading: float | None = None
        self._request: GenerationRequest | None = None
        self._span = JobSpan(job.id, job.kind, job.request)

    def _begin(self) -> None:
        self._began = True
        self.work = replace(self.work, device=self._device())
        for meter in self.meters:
            meter.began(self.work)
        log.info("job began", extra={"job": self.work.id, "kind": self.work.kind, "device": self.work.device})

    def see(self, event: Event) -> None:
        now = time.monotonic()
        if not self._began:
            self._begin()
        if self._loading is not None and not isinstance(event, Loading):
            self._tell_loaded(now - self._loading)
            self._loading = None
        match event:
            case Loading():
                self._loading = None if event.checkpoint == self._warm else now
                self.work = replace(self.work, checkpoint=event.checkpoint)  # what auto means is known now
                self._tell_waited()
            case Denoising() if event.seconds is not None:
                for meter in self.meters:
                    meter.step(self.work, event.seconds)
            case WentOn():
                log.info("job went on", extra={"job": self.work.id, "step": event.step, "total": event.total})
                for meter in self.meters:
                    meter.resumed(self.work)
            case Finished():
                self._request = event.result.request

    def _tell_loaded(self, seconds: float) -> None:
        for meter in self.meters:
            meter.loaded(self.work, seconds)

    def _tell_waited(self) -> None:
        if self._waited is not None:
            for meter in self.meters:
                meter.waited(self.work, self._waited)
        self._waited = None

    def ended(self, state: str, error: SvdUiError | None = None) -> None:
        """Told once; what comes after it is nothing new."""
        if self._ended:
            return
        self._ended, seconds, code = True, time.monotonic() - self._taken, error.code if error else ""
        self._tell_waited()
        for meter in self.meters:
            if state == "queued" and error is not None:
                meter.died(self.work.kind, code)
            meter.ended(self.work, state, code, seconds)
        self._span.end(state, code, self._request)
        about = {"job": self.work.id, "checkpoint": self.work.checkpoint, "seconds": round(seconds, 3)}
        log.info("job %s", state, extra={**about, **({"error": code} if code else {})})
