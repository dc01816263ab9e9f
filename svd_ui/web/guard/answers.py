"""How every request is answered: with headers that tell a browser what the page may do, never with a bare error."""

from __future__ import annotations

import errno
import json
import logging
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from ...errors import HistoryUnreachable
from ...hosting import on_space
from ...settings import Settings
from ..errors_of_gradio import disk_trouble
from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
FRAMES_OF_A_SPACE = "'self' https://huggingface.co https://*.hf.space"
OURS = frozenset({"content-length", "content-type", "content-disposition", "content-range", "accept-ranges"})
PRIVATE_FILES = "/gradio_api/file="
BROKEN = "The server could not make sense of this request. Its log says more."
NOTHING = "There is nothing here."
NO_SENSE = "This request holds numbers or letters that cannot be: correct it."


class Answers:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.headers = app, {**HEADERS, **policy(settings)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = streams = False

        async def with_headers(message: Message) -> None:
            nonlocal begun, streams
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                streams = headers.get("content-type", "").startswith("text/event-stream")
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
        except Exception as error:
            if begun and not streams:  # a file that is cut off must be seen to be
                raise
            status, text = told_of(error)
            if text == BROKEN:
                log.exception("%s %s", scope["method"], scope["path"])
            else:
                log.warning("%s %s: %s", scope["method"], scope["path"], type(error).__name__)
            if begun:
                body = f"event: error\ndata: {json.dumps({'error': text})}\n\n".encode()
                await send({"type": "http.response.body", "body": body})
            else:
                await refuse(scope, with_headers, status, text)


def told_of(error: BaseException) -> tuple[int, str]:
    """(status, sentence) of what nobody caught: a disk that takes nothing, numbers that cannot be echoed, or a fault of ours."""
    from fastapi.exceptions import RequestValidationError

    disk = disk_trouble(error)
    if disk:
        return 507, disk
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 404, NOTHING
    if getattr(error.__cause__, "status_code", None) == 404:  # raised by gradio after it had begun to answer
        return 404, NOTHING
    if isinstance(error, ValueError) and isinstance(error.__context__, RequestValidationError):
        return 422, NO_SENSE  # JSON holds no NaN, and no halves of letters
    return 500, BROKEN


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
