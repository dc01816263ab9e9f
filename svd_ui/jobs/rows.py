"""Stored rows => jobs as readers see them.

Rows of an older or newer release never fail; what they lose is named.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, cast, get_args

from pydantic import ValidationError

from ..events import Result, Stage
from ..migration import left_out, migrate
from ..notes import read_notes
from ..request import GenerationRequest
from . import Job, JobKind
from .database import Row

log = logging.getLogger(__name__)


AS_STORED = (
    *("id", "owner", "name", "batch", "step", "total", "message", "has_preview", "preview_frames"),
    *("created", "started", "ended"),
)
"""What a row and a ``Job`` hold under the same name."""
NUMBERS = (
    "number",
    "schema",
    "steps",
    "step",
    "total",
    "step_seconds",
    "created",
    "started",
    "phase_started",
    "updated",
)
STAGES = frozenset(get_args(Stage))
KINDS = frozenset(get_args(JobKind))


def is_sound(row: Row) -> bool:
    """Whether its numbers are numbers: what damages a file does not ask which column it hits."""
    sound = all(row[name] is None or isinstance(row[name], int | float) for name in NUMBERS)
    if not sound:
        log.warning("the row of job %s is damaged and was left out", row["id"])
    return sound


def readable(rows: Sequence[Row], expected: dict[str, tuple[int | None, float | None]]) -> list[Job]:
    """The jobs of ``rows``; a row that damage made unreadable is named in the log, and left out."""
    jobs = []
    for row in rows:
        try:
            jobs.append(to_job(row, *expected.get(row["id"], (None, None))))
        except (ValueError, TypeError) as error:
            log.warning("the row of job %s is damaged and was left out: %.200s", row["id"], error)
    return jobs


def to_job(row: Row, position: int | None = None, eta_seconds: float | None = None) -> Job:
    request, dropped = read_request(row["request"], row["schema"])
    return Job(
        **{name: row[name] for name in AS_STORED},
        kind=row["kind"] if row["kind"] in KINDS else "clip",
        state=_state(row),
        request=request,
        position=position,
        eta_seconds=eta_seconds,
        error=_json(row["error"], None),
        result=read_result(row["result"], row["schema"]),
        notes=(*read_notes(_json(row["notes"], [])), *left_out(dropped)),
    )


def _state(row: Row) -> Stage:
    """A stage that this release does not know is shown as the nearest it does."""
    if row["state"] in STAGES:
        return cast(Stage, row["state"])
    return "loading" if row["ended"] is None else "failed"


def read_request(text: str, schema: int) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The stored request, and the names of the settings that had to be left out."""
    data = _json(text, {})
    values, dropped = migrate(GenerationRequest, data if isinstance(data, dict) else {}, schema)
    return GenerationRequest.model_validate(values), dropped


def read_result(text: str | None, schema: int) -> Result | None:
    data = _json(text, None)
    if not isinstance(data, dict):
        return None
    request, _ = read_request(json.dumps(data.get("request") or {}), schema)
    read = {"request": request, "notes": read_notes(data.get("notes") or ())}
    values, _ = migrate(Result, {**data, **read}, schema)
    try:
        return Result.model_validate(values)
    except ValidationError as error:
        log.warning("a stored result could not be read: %s", error)
        return None


def _json(text: str | None, default: Any) -> Any:
    try:
        return default if text is None else json.loads(text)
    except (ValueError, RecursionError):
        log.warning("a stored value could not be read: %.80s", text)
        return default
