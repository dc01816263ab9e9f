"""For whoever watches the app: does it live, can it work, how much is there to do.

GET /health     200 while the page answers; no login
GET /ready      200 once a device is known and the history can be read, 503 before; no login
GET /metrics    Prometheus' text format, or OpenMetrics where it is asked for; on a page that others reach for its operator alone
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from .. import __version__
from ..errors import SvdUiError
from ..settings import is_loopback
from .visitor import Asked, is_forwarded

if TYPE_CHECKING:
    from .context import Context

FRESH = {"Cache-Control": "no-store"}


def health(context: Context) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    """Path => endpoint."""

    async def alive(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__}, headers=FRESH)

    async def ready(request: Request) -> Response:
        missing = await run_in_threadpool(_missing, context)
        told = {"status": "waiting" if missing else "ready", "missing": missing}
        return JSONResponse(told, 503 if missing else 200, FRESH)

    async def metrics(request: Request) -> Response:
        if not may_watch(context, request):
            return PlainTextResponse("There is nothing here.", 404)
        encoded, kind = choose_encoder(request.headers.get("accept", ""))
        text = await run_in_threadpool(encoded, context.metrics.registry)
        return Response(text, headers={**FRESH, "Content-Type": kind})

    return {"/health": alive, "/ready": ready, "/metrics": metrics}


def may_watch(context: Context, request: Request) -> bool:
    """The operator; on a page without a login whoever sits at the machine itself."""
    if request.scope.get("svd_ui.operator") or context.who(Asked(request)).operates:
        return True
    host = request.client.host if request.client else ""
    return (
        not context.settings.has_login
        and is_loopback(host)
        and not is_forwarded(request)
        and not context.settings.share
    )


def _missing(context: Context) -> list[str]:
    """What clips still wait for."""
    try:
        context.jobs.unfinished()
    except SvdUiError:
        return ["history"]
    return [] if context.device() is not None else ["device"]
