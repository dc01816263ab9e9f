"""Every request is followed: a name for its lines in the log, its time and status for /metrics, a span where there is telemetry."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from ...engine import telemetry
from ...logs import bind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..metrics import Metrics

HEADER = "x-request-id"
MARK = "svd_ui.followed"
WELL_FORMED = re.compile(r"[\w.-]{8,64}", re.ASCII)
ROUTES = {
    "upload": ("/gradio_api/upload",),
    "media": ("/svd/job/", "/svd/still/", "/svd/example/", "/svd/frame", "/svd/sketch/", "/svd/run/", "/gradio_api/file="),
    "status": ("/svd/status/", "/svd/history"),
    "queue": ("/svd/queue",),
    "events": ("/gradio_api/queue/data", "/gradio_api/heartbeat"),
    "api": ("/gradio_api/", "/config"),
    "login": ("/login", "/logout"),
    "probe": ("/health", "/ready", "/metrics"),
    "asset": ("/assets/", "/static/", "/svelte/", "/theme.css", "/favicon", "/manifest.json", "/robots.txt", "/pwa_icon"),
}  # fmt: skip
"""Kind of route => how its paths begin; the first that fits."""


@dataclass(frozen=True)
class Followed:
    """One request: its name, and the context of its span."""

    id: str
    trace: telemetry.Carrier


def follow(connection: Any) -> None:
    """From here on what this task or thread logs, and the jobs it asks for, belong to the request behind ``connection``.

    gradio runs what the page asks for outside of the request itself.
    """
    mark = (getattr(connection, "scope", None) or {}).get(MARK)
    if mark is not None:
        bind(request_id=mark.id)
        telemetry.asked_by(mark.trace)


def route_kind(path: str) -> str:
    """One of a few words, whatever is asked for."""
    if path.rstrip("/") == "":
        return "page"
    return next((kind for kind, begins in ROUTES.items() if path.startswith(begins)), "other")


class Watched:
    """ASGI middleware, the outermost. ``root_path`` is what a web server may have left on."""

    def __init__(self, app: ASGIApp, metrics: Metrics, root_path: str) -> None:
        self.app, self.metrics, self.root = app, metrics, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, headers = time.perf_counter(), Headers(scope=scope)
        given, kind = headers.get(HEADER, ""), route_kind(scope["path"].removeprefix(self.root))
        span = telemetry.RequestSpan(kind, scope["method"], headers)
        mark = Followed(given if WELL_FORMED.fullmatch(given) else secrets.token_hex(8), span.carrier)
        bind(request_id=mark.id)
        telemetry.asked_by(mark.trace)
        status = 0

        async def counting() -> Message:
            message = await receive()
            if kind == "upload" and message["type"] == "http.request":
                self.metrics.uploaded(len(message.get("body", b"")))
            return message

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = mark.id
                self.metrics.answered(kind, status, time.perf_counter() - began)
                self._note_login(kind, scope["method"], headers, status)
            await send(message)

        try:
            await self.app({**scope, MARK: mark}, counting, noting)
        finally:
            span.end(status)

    def _note_login(self, kind: str, method: str, headers: Headers, status: int) -> None:
        """gradio answers 400 to a wrong password, we 401; 429 is said to whoever guesses too often."""
        tried = (kind == "login" and method == "POST") or (kind == "probe" and "authorization" in headers)
        if tried and status in (400, 401, 429):
            self.metrics.refused_login("too_many" if status == 429 else "password")
