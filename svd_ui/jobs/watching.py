"""Waiting for a job to change. Changes by any process are seen; the async ways hold no thread."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from ..events import ENDED
from . import Job

POLL_SECONDS = 0.1


class Watching(ABC):
    """What a reader of records needs to offer to be watched."""

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
