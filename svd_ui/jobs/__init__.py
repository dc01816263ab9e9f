"""Durable work: a request becomes a job, and everybody who looks at it reads the same record.

``service.JobService`` is the implementation; the page, the command line and the API know this protocol.
This package is torch-free.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from ..engine import Device, Estimate
from ..events import Result, Stage
from ..notes import Note
from ..request import Frozen, GenerationRequest

JobKind = Literal["clip", "still", "download"]


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
