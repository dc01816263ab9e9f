"""Durable work: a request becomes a job, and everybody who looks at it reads the same record.

``service.JobService`` is what the page, the command line and the API talk to.
This package is torch-free.
"""

from __future__ import annotations

from typing import Any, Literal

from ..events import Result, Stage
from ..notes import Note
from ..request import Frozen, GenerationRequest

JobKind = Literal["clip", "still", "download"]


class Job(Frozen):
    """One row as its readers see it. ``step`` / ``total`` belong to the current ``state``.

    ``position`` is 0 for the next in the queue, None when not queued; ``eta_seconds`` comes from measured
    step times. Files are reached through ``JobService.file`` only.
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
