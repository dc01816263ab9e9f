"""The queue for the page and for programs: one address to look, one to change it, one to take it along as a file.

``GET /svd/queue`` answers ``{"paused", "operator", "jobs"}``, ``GET /svd/queue.zip`` the file for ``python -m svd_ui run``.
``POST /svd/queue`` takes JSON, ``{"do": "pause" | "resume" | "move" | "skip" | "edit" | "stop" | "stop_all"}`` with ``id``,
``where`` and ``other`` (move), ``request`` (edit), ``tile`` (stop, one of a wall by its number from 0), and answers like a look. A page of another site cannot send it: no form
sends JSON with a header of our own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..errors import BadInput, NotFound, SvdUiError
from ..jobs import Job, bundle
from ..migration import renamed
from ..request import GenerationRequest
from ..validation import validate
from .formatting import STATES, headline, kind_of, left, of_batch
from .visitor import Asked, Visitor, said

if TYPE_CHECKING:
    from ..jobs.control import QueueControl
    from .context import Context

HEADER = "x-svd-ui"
MAX_BODY = 100_000
MOST = 200
"""Jobs in one look."""
Endpoint = Callable[[Request], Awaitable[Response]]


def queue_routes(context: Context) -> dict[str, tuple[Endpoint, list[str]]]:
    """Path => (endpoint, its methods)."""
    looking = Look(context)

    async def queue(request: Request) -> Response:
        try:
            visitor = context.who(Asked(request))
            if request.method == "POST":
                await run_in_threadpool(looking.change, await _body(request), visitor)
            return JSONResponse(await run_in_threadpool(looking, visitor.reads), headers={"Cache-Control": "no-store"})
        except SvdUiError as error:
            code = 404 if isinstance(error, NotFound) else 400 if isinstance(error, BadInput) else 503
            return _refused(context, error, code)

    async def export(request: Request) -> Response:
        try:
            path = await run_in_threadpool(looking.exported, context.who(Asked(request)).reads)
        except SvdUiError as error:
            return _refused(context, error, 404)
        gone = BackgroundTask(partial(path.unlink, missing_ok=True))
        return FileResponse(path, media_type="application/zip", filename="queue.zip", background=gone)

    return {"/svd/queue": (queue, ["GET", "POST"]), "/svd/queue.zip": (export, ["GET"])}


def _refused(context: Context, error: SvdUiError, code: int) -> Response:
    told = {"code": error.code, "message": said(error.to_dict(), context.remote)}
    return JSONResponse({"error": told}, status_code=code)


class Look:
    """What an owner sees of the queue and does with it; None is the operator."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def _queue(self) -> QueueControl:
        return self._context.jobs.queue

    def __call__(self, owner: str | None) -> dict[str, Any]:
        jobs = self._queue.jobs(owner)[:MOST]
        places = self._context.jobs.places(jobs)
        paused = self._queue.paused
        told = [_told(job, of_batch(places.get(job.id)), paused) for job in jobs]
        return {"paused": paused, "operator": owner is None, "jobs": told}

    def change(self, asked: dict[str, Any], visitor: Visitor) -> None:
        """Do what is ``asked``. Raises BadInput or NotFound, and what a visitor hears who asks for too much."""
        id, queue, owner = str(asked.get("id") or ""), self._queue, visitor.reads
        match asked.get("do"):
            case "pause":
                queue.pause(owner)
            case "resume":
                queue.resume(owner)
            case "move":
                where, other = asked.get("where"), asked.get("other")
                queue.move(id, where, str(other) if other is not None else None, owner)  # type: ignore[arg-type]
            case "skip":
                queue.skip(id, owner)
            case "edit":
                request = self._edited(id, asked.get("request"))
                self._context.admission.check(visitor, request)
                queue.edit(id, request, owner)
            case "stop":
                tile = asked.get("tile")
                if tile is None:
                    self._context.jobs.cancel(id, owner)
                else:
                    queue.leave_out(id, tile if isinstance(tile, int) else -1, owner)
            case "stop_all":
                queue.stop_all(owner)
            case _:
                raise BadInput("Say what to do: pause, resume, move, skip, edit, stop or stop_all.", field="do")

    def _edited(self, id: str, values: Any) -> GenerationRequest:
        """The job's request with ``values`` in the place of its own."""
        if not isinstance(values, dict):
            raise BadInput("Give the settings to change.", field="request")
        return validate({**self._context.jobs.get(id).request.explicit(), **renamed(GenerationRequest, values)})

    def exported(self, owner: str | None) -> Path:
        """A file of what waits, to be removed once it was sent."""
        jobs = [job for job in self._queue.jobs(owner) if job.position is not None]
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
            path = Path(file.name)
        try:
            bundle.write(path, jobs, self._context.assets)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path


def _told(job: Job, place: str, paused: bool) -> dict[str, Any]:
    """A job in the list; the name of its picture's file is its owner's alone, who is the one that sees it."""
    request = job.request
    held = paused and job.position is not None
    kept = "Its progress is kept" if job.message and job.step else ""
    said = {
        "state": STATES[job.state],
        "left": "" if held else left(job.eta_seconds),
        "message": kept if held else job.message,
    }
    return {
        "id": job.id,
        "running": job.position is None,
        "position": job.position,
        "title": headline(job),
        "of": place,
        "what": kind_of(job),
        "seed": request.seed,
        "step": job.step,
        "total": job.total,
        **said,
    }


async def _body(request: Request) -> dict[str, Any]:
    """The JSON of a change. Raises BadInput for anything that this app's own page or a program would not send."""
    if request.headers.get(HEADER) is None:
        raise BadInput(f"Send the header {HEADER}: 1.")
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise BadInput("That is too long.")
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise BadInput("Send a JSON object.")
    return asked
