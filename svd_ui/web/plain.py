"""Status, history and devices as plain routes: asking them builds no session of gradio's, so a program may ask as often as it likes.

GET /svd/status/<id>                       the same object as the API's /status, its files as addresses
GET /svd/history?limit=24&before=<id>      a list of them; the token as ``Authorization: Bearer <token>``
GET /svd/devices                           what each device does; its operator is told why one rests, and of which job
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import HistoryUnreachable, NotFound, SvdUiError
from ..jobs import Job
from ..jobs.rotation import plain as told
from .visitor import Asked, said

if TYPE_CHECKING:
    from .context import Context

FRESH = {"Cache-Control": "no-store"}
THREADS = 2


def plain(context: Context) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """Path => endpoint."""
    from .api import MAX_TEXT, limit_of, shown, text_of

    def as_address(request: Request, job: Job) -> dict[str, Any]:
        root = request.scope.get("root_path", "")

        def address(name: str, path: Path) -> str:
            return f"{root}/svd/job/{job.id}/{name}"

        return shown(context, job, address)

    def listed(request: Request) -> list[dict[str, Any]]:
        query, token = request.query_params, request.headers.get("authorization", "").removeprefix("Bearer ")
        # A cookie says who a browser is: the page's own scripts may ask without a token.
        known = text_of(token.strip()[: MAX_TEXT + 1], "token")
        visitor = context.who(Asked(request), known)
        jobs = context.jobs.history(visitor.reads, limit_of(query.get("limit")), text_of(query.get("before"), "before"))
        return [as_address(request, job) for job in jobs]

    async def status(request: Request) -> Response:
        return await _answered(lambda: as_address(request, context.jobs.get(request.path_params["id"])), context)

    async def history(request: Request) -> Response:
        return await _answered(lambda: listed(request), context)

    async def devices(request: Request) -> Response:
        why = context.who(Asked(request)).operates
        return await _answered(lambda: [told(one, why=why) for one in context.devices()], context)

    return {"/svd/status/{id}": status, "/svd/history": history, "/svd/devices": devices}


@cache
def _turns() -> CapacityLimiter:
    """Threads of their own: a program that asks how its clip stands does not wait behind what pages draw."""
    return CapacityLimiter(THREADS)


async def _answered(ask: Callable[[], Any], context: Context) -> Response:
    try:
        return JSONResponse(await run_sync(ask, limiter=_turns()), headers=FRESH)
    except SvdUiError as error:
        codes = {NotFound: 404, HistoryUnreachable: 503}
        code = codes.get(type(error), 400 if error.exit_code == 2 else 500)
        told = {"code": error.code, "message": said(error.to_dict(), context.remote)}
        return JSONResponse({"error": told}, code, FRESH)
