"""For whoever watches the app: does it live, can it work, how much is there to do.

GET /health     200 while the page answers; no login
GET /ready      200 while a device takes jobs and the history can be written, else 503; which devices rest; no login
GET /metrics    Prometheus' text format, or OpenMetrics where it is asked for; on a page that others reach for its operator alone
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import choose_encoder
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from .. import __version__
from ..errors import SvdUiError
from ..jobs.rotation import plain
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
        devices = await run_in_threadpool(_devices, context, may_watch(context, request))
        told = {"status": "waiting" if missing else "ready", "missing": missing, "devices": devices}
        return JSONResponse(told, 503 if missing else 200, FRESH)

    async def metrics(request: Request) -> Response:
        if not may_watch(context, request):
            return PlainTextResponse("There is nothing here.", 404)
        encoded, kind = choose_encoder(request.headers.get("accept", ""))
        text = await run_in_threadpool(encoded, context.metrics.registry)
        return Response(text, headers={**FRESH, "Content-Type": kind})

    return {"/health": alive, "/ready": ready, "/metrics": metrics}


def may_watch(context: Context, request: Request) -> bool:
    """The operator; on a page without a login whoever sits at the machine itself. Where a web server hands strangers on
    (``SVD_UI_PUBLIC``) all come from there, and not every one says for whom.
    """
    if request.scope.get("svd_ui.operator") or context.who(Asked(request)).operates:
        return True
    host = request.client.host if request.client else ""
    return (
        not context.settings.has_login
        and is_loopback(host)
        and not is_forwarded(request)
        and not (context.settings.share or context.settings.public)
    )


def _missing(context: Context) -> list[str]:
    """What clips still wait for."""
    if not context.settings.data_dir.is_dir():
        return ["data folder"]
    try:
        context.jobs.check()
    except SvdUiError:
        return ["history"]
    works = any(one.device is not None and one.doing != "resting" for one in context.devices())
    return [] if works else ["device"]


def _devices(context: Context, why: bool) -> list[dict[str, Any]]:
    """What each does; to strangers no more than that."""
    try:
        known = context.devices()
    except SvdUiError:
        return []
    return [plain(one) if why else {"name": one.name, "doing": one.doing} for one in known]
