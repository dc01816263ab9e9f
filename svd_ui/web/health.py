"""For whoever watches the app: does it live, can it work, how much is there to do.

GET /health     200 while the page answers; no login
GET /ready      200 while a device takes jobs and the history can be read, else 503; which devices rest; no login
GET /metrics    Prometheus' text format; on a page that others reach for its operator alone
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import psutil
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

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
FRESH = {"Cache-Control": "no-store"}
Sample = tuple[Mapping[str, str], float]
"""Labels, and the value."""


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
        text = await run_in_threadpool(lambda: "".join(_metrics(context)))
        return Response(text, media_type=TEXT_FORMAT, headers=FRESH)

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
    works = any(one.device is not None and one.doing != "resting" for one in context.devices())
    return [] if works else ["device"]


def _devices(context: Context, why: bool) -> list[dict[str, Any]]:
    """What each does; to strangers no more than that."""
    try:
        known = context.devices()
    except SvdUiError:
        return []
    return [plain(one) if why else {"name": one.name, "doing": one.doing} for one in known]


def _metrics(context: Context) -> Iterable[str]:
    jobs, process = context.jobs.counted(), psutil.Process()
    states = [({"kind": kind, "state": state}, float(count)) for (kind, state), count in sorted(jobs.items())]
    device = context.device()
    yield metric("svd_ui_info", "gauge", "Version of the app.", [({"version": __version__}, 1.0)])
    yield metric("svd_ui_jobs", "gauge", "Jobs of the history, by kind and state.", states)
    yield metric(
        "svd_ui_jobs_unfinished", "gauge", "Clips and stills that wait or are made.", _one(context.jobs.unfinished())
    )
    yield metric("svd_ui_device_known", "gauge", "Whether a device is there to work.", _one(device is not None))
    if device is not None and device.free_bytes is not None:
        yield metric("svd_ui_device_free_bytes", "gauge", "Free memory of the device.", _one(device.free_bytes))
    if device is not None and device.total_bytes is not None:
        yield metric("svd_ui_device_total_bytes", "gauge", "Memory of the device.", _one(device.total_bytes))
    free = shutil.disk_usage(context.settings.data_dir).free
    yield metric("svd_ui_disk_free_bytes", "gauge", "Free space for the data folder.", _one(free))
    memory, age = process.memory_info().rss, time.time() - process.create_time()
    yield metric("svd_ui_page_resident_bytes", "gauge", "Memory of the page's process.", _one(memory))
    yield metric("svd_ui_page_uptime_seconds", "gauge", "Since the page's process began.", _one(age))
    yield metric("svd_ui_page_cpu_seconds_total", "counter", "Its processor time.", _one(sum(process.cpu_times()[:2])))


def _one(value: float) -> list[Sample]:
    return [({}, float(value))]


def metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    """A family in Prometheus' text format."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        named = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{named}}} {value:.10g}" if named else f"{name} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
