"""How every request is answered: with headers that tell a browser what the page may do, never with a bare error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from ...errors import HistoryUnreachable
from ...hosting import on_space
from ...settings import Settings
from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
FRAMES_OF_A_SPACE = "'self' https://huggingface.co https://*.hf.space"
OURS = frozenset({"content-length", "content-type", "content-disposition", "content-range", "accept-ranges"})
PRIVATE_FILES = "/gradio_api/file="
BROKEN = "The server could not make sense of this request. Its log says more."


class Answers:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.headers = app, {**HEADERS, **policy(settings)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                if PRIVATE_FILES in scope["path"]:
                    _take_back(headers, Headers(scope=scope))
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        except HistoryUnreachable as error:  # the log has said so
            if begun:
                raise
            await refuse(scope, with_headers, 503, error.message)
        except Exception:
            if begun:
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            await refuse(scope, with_headers, 500, BROKEN)


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}


def policy(settings: Settings) -> dict[str, str]:
    """The Content-Security-Policy, and the older header for frames.

    gradio's front end makes functions of texts, so scripts may; where they come from is held. A picture dragged in from another
    tab is fetched from where it lies.
    """
    space = on_space()
    faces = (
        " https://huggingface.co https://*.huggingface.co" if space else ""
    )  # of who made the Space, in gradio's header
    cdn = " https://cdnjs.cloudflare.com https://cdn.jsdelivr.net" if space or settings.share else ""
    rules = {
        "default-src": "'self'",
        "script-src": f"'self' 'unsafe-inline' 'unsafe-eval' blob:{cdn}",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": f"'self' data: blob:{faces}",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "worker-src": "'self' blob:",
        "connect-src": "'self' data: blob: https: http:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": FRAMES_OF_A_SPACE if space else "'self'",
    }
    frames = {} if space else {"X-Frame-Options": "SAMEORIGIN"}
    return {"Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in rules.items()), **frames}


def _take_back(headers: MutableHeaders, asked: Headers) -> None:
    """gradio answers a ``Range`` with the request's own headers, cookies among them."""
    for name, value in asked.items():
        if name not in OURS and headers.get(name) == value:
            del headers[name]
