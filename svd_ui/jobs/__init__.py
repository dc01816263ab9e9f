"""Durable work: a request becomes a job, and everybody who looks at it reads the same record or waits for it to change.

``service.JobService`` is the implementation; the page, the command line and the API know this protocol.
This package is torch-free.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, Protocol

from ..engine import Device, Estimate
from ..events import ENDED, Result, Stage
from ..notes import Note
from ..request import Frozen, GenerationRequest

JobKind = Literal["clip", "still", "download"]
POLL_SECONDS = 0.1


class Job(Frozen):
    """One row as its readers see it. ``step`` / ``total`` belong to the current ``state``.

    ``position`` is 0 for the next in the queue, None when not queued; ``eta_seconds`` comes from measured
    step times. Files are reached through ``Jobs.file`` only.
    """

    id: str
    owner: str
    kind: JobKind = "clip"
    state: Stage
    request: GenerationRequest
    step: int | None = None
    total: int | None = None
    position: int | None = None
    eta_seconds: float | None = None
    message: str = ""
    error: dict[str, Any] | None = None
    result: Result | None = None
    notes: tuple[Note, ...] = ()
    has_preview: bool = False
    created: float
    started: float | None = None
    ended: float | None = None


class Jobs(Protocol):
    """``owner`` None means an operator who sees everything (loopback, command line)."""

    def submit(self, request: GenerationRequest, owner: str, kind: JobKind = "clip") -> Job:
        """Check, fix the seed, store; raises BadInput or QueueFull."""

    def get(self, id: str, owner: str | None = None) -> Job:
        """Anyone who knows the 128-bit id may look (``owner`` is not needed to read). Raises NotFound."""

    def cancel(self, id: str, owner: str | None = None) -> Job: ...

    def retry(self, id: str, owner: str) -> Job:
        """A new job with the same request."""

    def history(self, owner: str | None = None, limit: int = 24, before: str | None = None) -> list[Job]:
        """Newest first, deleted ones left out; ``before`` is a job id, for paging."""

    def delete(self, id: str, owner: str | None = None) -> None:
        """Hide; files go after an hour, so that ``undelete`` works until then."""

    def undelete(self, id: str, owner: str | None = None) -> Job: ...

    def file(self, job: Job, name: str) -> Path | None:
        """The stored file of a result: ``video poster frames animation latents preview``, or ``tile-<index>`` of a wall.

        None if there is none.
        """

    def describe(self) -> Device | None:
        """The device, or None while the worker is still starting; never blocks."""

    def estimate(self, request: GenerationRequest) -> Estimate: ...

    def release(self) -> None: ...

    def close(self) -> None: ...


class Watching(ABC):
    """Waiting for a job to change; changes by any process are seen, and the async ways hold no thread.

    A reader of records offers ``get`` and ``revision``.
    """

    @abstractmethod
    def get(self, id: str, owner: str | None = None) -> Job: ...

    @abstractmethod
    def revision(self) -> int:
        """A number that changes whenever anybody, in any process, has written. Cheap to ask."""

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """Block until the job has ended, or for ``timeout`` seconds; returns it as it is then."""
        end = _after(timeout)
        while True:
            job = self.get(id)
            if job.state in ENDED or time.monotonic() >= end:
                return job
            time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))

    async def wait_async(self, id: str, timeout: float | None = None) -> Job:
        """As ``wait``, without a thread."""
        end = _after(timeout)
        job = await self.await_change(id)
        while job.state not in ENDED and time.monotonic() < end:
            job = await self.await_change(id, job, max(0.0, end - time.monotonic()))
        return job

    async def await_change(self, id: str, seen: Job | None = None, timeout: float | None = None) -> Job:
        """The job as soon as it differs from ``seen`` (its ETA aside), or as it is after ``timeout`` seconds.

        Returns at once without ``seen``, and for an ended job. Raises NotFound, also when it is deleted meanwhile.
        """
        end = _after(timeout)
        while True:
            revision = self.revision()
            job = self.get(id)
            if seen is None or job.state in ENDED or _differs(job, seen):
                return job
            while self.revision() == revision:
                if time.monotonic() >= end:
                    return self.get(id)
                await asyncio.sleep(POLL_SECONDS)

    async def changes(self, id: str) -> AsyncIterator[Job]:
        """The job now, then after every change; the last one has ended."""
        job = await self.await_change(id)
        yield job
        while job.state not in ENDED:
            job = await self.await_change(id, job)
            yield job


def _after(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _differs(job: Job, seen: Job) -> bool:
    return job != seen.model_copy(update={"eta_seconds": job.eta_seconds})
