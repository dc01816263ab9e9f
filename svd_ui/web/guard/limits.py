"""How much a visitor may send: bytes of a request, uploads of an hour, requests of a minute and at once. The operator's uploads are
free.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from ...assets import MB
from ...errors import BadInput
from ..copies import sweep
from ..visitor import Asked, Visitor, address_of, route_path
from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..context import Context

JSON_BYTES = 8 * MB
"""Of everything that is no upload: a form with its lists and masks is far below."""
LOGIN_BYTES = 64_000
FILES_AT_ONCE = 8
"""Times the largest upload: what a visitor may send in one request."""
HOUR = 3600.0
REQUESTS, REQUEST_SECONDS = 1500, 30.0
"""A page asks twice a second, and for a picture of each job of its history when it opens."""
AT_ONCE = 256
"""Requests under way of an address. A page keeps a stream or two open, and an office has many pages; a machine has some thousand."""
MOST_VISITORS = 10_000
UPLOAD_SECONDS = 24 * 3600.0
"""How long an upload is kept: what it became lies in the assets and jobs."""


class Limits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        settings = context.settings
        self.app, self.context = app, context
        self.requests = Window(REQUESTS, REQUEST_SECONDS)
        self.uploads = Window(settings.max_visitor_uploads, HOUR)
        self.bytes = Window(settings.max_visitor_upload_mb * MB, HOUR)
        self.under_way: Counter[str] = Counter()
        self.next_sweep = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visitor = self._visitor(scope)
        address = "" if visitor.operates else visitor.address
        if address and self.under_way[address] >= AT_ONCE:
            text = (
                f"{AT_ONCE} requests from your network are under way, as many as there may be: close some of its pages."
            )
            await refuse(scope, send, 429, text, {"Retry-After": "10"})
            return
        self.under_way[address] += 1
        try:
            await self._limited(scope, receive, send, visitor)
        finally:
            self.under_way[address] -= 1
            if not self.under_way[address]:
                del self.under_way[address]

    async def _limited(self, scope: Scope, receive: Receive, send: Send, visitor: Visitor) -> None:
        path = route_path(scope).rstrip("/")
        upload = path == "/gradio_api/upload"
        if not visitor.operates and visitor.address and not self.requests.take(visitor.address):
            await refuse(scope, send, 429, "Too many requests: wait a moment, then go on.", {"Retry-After": "10"})
            return
        most = self._upload_limit(visitor) if upload else LOGIN_BYTES if path == "/login" else JSON_BYTES
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and most is not None and int(length) > most:
            await refuse(scope, send, 413, f"This is too much at once: at most {most / MB:.1f} MB are accepted.")
            return
        why = self._quota(visitor, length) if upload and not visitor.operates else ""
        if why:
            await refuse(scope, send, 429, why, {"Retry-After": "600"})
            return
        if upload:
            await self._sweep()
        await self._counted(scope, receive, send, most)

    def _visitor(self, scope: Scope) -> Visitor:
        asked = Asked(HTTPConnection(scope))
        try:
            return self.context.who(asked)
        except BadInput:  # nobody can be told by name now, and ``Login`` lets no more through than /health
            return Visitor("", address=address_of(self.context.settings, asked))

    def _upload_limit(self, visitor: Visitor) -> int | None:
        return None if visitor.operates else FILES_AT_ONCE * self.context.settings.max_upload_mb * MB

    def _quota(self, visitor: Visitor, length: str) -> str:
        """Why a visitor may not upload now; ''. A new cookie is not a new address."""
        if not length.isdecimal():
            return "Say how long the upload is (Content-Length), then send it again."
        for key, times in ((visitor.owner, 1), (visitor.address, 3)):
            if key and not (self.uploads.take(key, 1, times) and self.bytes.take(key, int(length), times)):
                return (
                    "You have uploaded as much as an hour allows: wait a while, or use a picture that is here already."
                )
        return ""

    async def _counted(self, scope: Scope, receive: Receive, send: Send, most: int | None) -> None:
        """Bytes are counted as they come: a length need not be told, nor be true. What gradio says of the rest is left out."""
        come, begun, over = 0, False, False

        async def counting() -> Message:
            nonlocal come, over
            message = await receive()
            come += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            over = most is not None and come > most
            if over:
                raise TooLargeError
            return message

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or not over
            if begun:
                await send(message)

        with suppress(TooLargeError):
            await self.app(scope, counting, noting)
        if over and not begun:
            text = f"This is too much at once: at most {(most or 0) / MB:.1f} MB are accepted."
            await refuse(scope, send, 413, text)

    async def _sweep(self) -> None:
        if time.monotonic() >= self.next_sweep:
            self.next_sweep = time.monotonic() + HOUR
            await run_in_threadpool(sweep, time.time() - UPLOAD_SECONDS)


class TooLargeError(Exception):
    """More came than is accepted."""


class Window:
    """At most ``most`` in ``seconds`` for each key; ``clock`` in seconds."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.seconds, self._clock = most, seconds, clock
        self._taken: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def take(self, key: str, amount: int = 1, times: int = 1) -> bool:
        """Whether ``key`` may have ``amount`` more now, with ``times`` the usual limit; taken if so."""
        now, taken = self._clock(), self._taken.setdefault(key, deque())
        self._taken.move_to_end(key)
        while taken and taken[0][0] <= now - self.seconds:
            taken.popleft()
        while len(self._taken) > MOST_VISITORS:
            self._taken.popitem(last=False)
        if sum(count for _, count in taken) + amount > self.most * times:
            return False
        if taken and taken[-1][0] > now - self.seconds / 100:  # in hundredths of the time: a key costs little memory
            taken[-1] = (taken[-1][0], taken[-1][1] + amount)
        else:
            taken.append((now, amount))
        return True
