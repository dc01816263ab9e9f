"""Waiting for a job to change, without holding a thread. Changes by any process are seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from ..events import ENDED
from . import Job

POLL_SECONDS = 0.1


class Watcher:
    """``revision`` changes with every write of anybody; ``get`` is asked only then, and now and then for the ETA."""

    def __init__(self, get: Callable[[str], Job], revision: Callable[[], int]) -> None:
        self._get, self._revision = get, revision

    async def await_change(self, id: str, seen: Job | None = None, timeout: float | None = None) -> Job:
        """The job as soon as it differs from ``seen`` (its ETA aside), or as it is after ``timeout`` seconds.

        Returns at once without ``seen``, and for an ended job. Raises NotFound, also when it is deleted meanwhile.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            revision = self._revision()
            job = self._get(id)
            if seen is None or job.state in ENDED or _differs(job, seen):
                return job
            while self._revision() == revision:
                if end is not None and time.monotonic() >= end:
                    return self._get(id)
                await asyncio.sleep(POLL_SECONDS)

    async def changes(self, id: str) -> AsyncIterator[Job]:
        """The job now, then after every change; the last one has ended."""
        job = await self.await_change(id)
        yield job
        while job.state not in ENDED:
            job = await self.await_change(id, job)
            yield job

    async def wait(self, id: str, timeout: float | None = None) -> Job:
        """The ended job, or as it is after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        job = await self.await_change(id)
        while job.state not in ENDED and (end is None or time.monotonic() < end):
            job = await self.await_change(id, job, None if end is None else max(0.0, end - time.monotonic()))
        return job


def _differs(job: Job, seen: Job) -> bool:
    return job != seen.model_copy(update={"eta_seconds": job.eta_seconds})
