"""Samples of runs, served by the run's name and the step: no path ever comes from a client."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ...errors import SvdUiError
from ...finetune.runs import TrainingRuns
from ...settings import Settings
from . import view

PATH = "/svd/run/{name}/{step}"
HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def endpoint(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """One mp4 of a run's folder, or 404."""
    runs = TrainingRuns(settings)

    async def sample(request: Request) -> Response:
        path = await run_in_threadpool(find, runs, request.path_params["name"], request.path_params["step"])
        if path is None:
            return Response("There is nothing here.", status_code=404, media_type="text/plain")
        return FileResponse(path, media_type="video/mp4", headers=HEADERS)

    return sample


def find(runs: TrainingRuns, name: str, step: str) -> Path | None:
    """The sample that run ``name`` made at ``step``, among those that are there."""
    if not re.fullmatch(r"\d{1,9}", step):
        return None
    try:
        folder = runs.folder(name)
    except SvdUiError:
        return None
    return dict(view.samples(folder)).get(int(step))
