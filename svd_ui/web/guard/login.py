"""Where there is a login everything is behind it but what shows the login; guessing is slow."""

from __future__ import annotations

import base64
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import HTTPConnection

from ...accounts import Accounts
from ...errors import BadInput
from ...settings import Settings
from ..visitor import address_of, logged_in, route_path, said, sessions
from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..context import Context

OPEN = frozenset({
    "", "/", "/login", "/logout", "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json",
    "/gradio_api/app_id", "/gradio_api/login_check", "/gradio_api/startup-events", "/gradio_api/user", "/health", "/ready",
})  # fmt: skip
"""What a browser or a supervisor asks for before there is a login; nothing of it is anybody's."""
OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/login/callback", "/login/huggingface")
UNUSED = (
    "/monitoring", "/pwa_icon", "/gradio_api/custom_component", "/gradio_api/deep_link", "/gradio_api/dev/", "/gradio_api/file/",
    "/gradio_api/file=http:", "/gradio_api/file=https:", "/gradio_api/process_recording", "/gradio_api/profiling", "/gradio_api/proxy=",
    "/gradio_api/run-history", "/gradio_api/runs", "/gradio_api/stream", "/gradio_api/undo-vibe",
    "/gradio_api/vibe",
)  # fmt: skip
"""Routes of gradio that the page does without: each could be asked for something, so nobody answers there."""
METRICS, HEALTH = "/metrics", "/health"
FREE_GUESSES = 5
SECONDS_A_GUESS = 10.0
MOST_ADDRESSES = 10_000


def asking(settings: Settings, accounts: Accounts) -> Any:
    """What gradio's ``launch`` is given as ``auth``: a pair, or a coroutine function where there are accounts."""
    if not settings.has_accounts:
        return settings.credentials

    async def check(name: str, password: str) -> bool:
        user, key = settings.credentials or ("", "")
        if user and same(user, name):
            return same(key, password)
        return await run_sync(accounts.check, name, password, limiter=_turns())

    return check


@cache
def _turns() -> CapacityLimiter:
    """A password takes a twentieth of a second and 64 MB to hash: in threads of their own, a few at once."""
    return CapacityLimiter(2)


def same(one: str, other: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return secrets.compare_digest(one.encode(), other.encode())


def basic(header: str) -> tuple[str, str]:
    """Name and password of HTTP Basic; blank where it is none."""
    kind, _, text = header.partition(" ")
    try:
        name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (name, password) if kind.lower() == "basic" else ("", "")


class Login:
    """ASGI middleware. gradio asks for the login at most of its routes; here every other one asks too.

    What collects metrics has no page to log in at: it says name and password with the request (HTTP Basic).
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self.app, self.context, self.guesses = app, context, Guesses()
        self._hashes: dict[str, str | None] = {}
        """Session => what was kept of the password it was opened with."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        path, closed = route_path(scope), self._closed()
        if closed and path != HEALTH:
            await refuse(scope, send, 503, closed)
            return
        name = None if closed else self.name(scope)  # also where anybody may ask: who is out is shown the login
        if path.startswith(UNUSED):
            await refuse(scope, send, 404, "There is nothing here.")
        elif path.rstrip("/") == "/login" and scope.get("method") == "POST":
            await self._guess(scope, receive, send)
        elif path == METRICS and self._asks() and "authorization" in (headers := HTTPConnection(scope).headers):
            await self._with_password(headers["authorization"], scope, receive, send)
        elif is_open(path) or not self._asks() or name is not None:
            await self.app(scope, receive, send)
        else:
            await refuse(scope, send, 401, "Log in first.")

    def _asks(self) -> bool:
        return self.context.settings.has_login

    def _closed(self) -> str:
        """Why nobody can be told from anybody else now; ''."""
        try:
            if self.context.settings.has_accounts:
                self.context.accounts.all()
        except BadInput as error:
            return said(error.to_dict(), remote=True)
        return ""

    def name(self, scope: Scope) -> str | None:
        """Who is logged in; an account that was removed, or that got another password since, no longer is."""
        connection = HTTPConnection(scope)
        if self.context.settings.has_accounts:
            tokens = scope["app"].tokens
            for token in sessions(connection):
                if not self._holds(token, tokens.get(token)):
                    tokens.pop(token, None)
        return logged_in(connection)

    def _holds(self, token: str, name: str | None) -> bool:
        if name == (self.context.settings.credentials or ("",))[0]:
            return True
        now = self.context.accounts.hash(name or "")
        return now is not None and self._hashes.get(token) == now

    def _note_sessions(self, tokens: Mapping[str, str]) -> None:
        """Of those that are open now; a new one's password was just found right."""
        hashes, accounts = self._hashes, self.context.accounts
        self._hashes = {
            token: hashes[token] if token in hashes else accounts.hash(name) for token, name in list(tokens.items())
        }

    async def _with_password(self, header: str, scope: Scope, receive: Receive, send: Send) -> None:
        address, (name, password) = address_of(self.context.settings, HTTPConnection(scope)), basic(header)
        wait = self.guesses.wait(address)
        if wait > 0:
            await self._wait(scope, send, wait)
            return
        self.guesses.begin(address)
        if not await run_sync(self._is_operator, name, password, limiter=_turns()):
            await refuse(scope, send, 401, "Log in first.", {"WWW-Authenticate": "Basic"})
            return
        self.guesses.give_back(address)
        await self.app({**scope, "svd_ui.operator": True}, receive, send)

    def _is_operator(self, name: str, password: str) -> bool:
        own = self.context.settings.credentials
        if own is not None and (not self.context.settings.has_accounts or name == own[0]):
            return all(map(same, own, (name, password)))
        return self.context.accounts.role(name) == "operator" and self.context.accounts.check(name, password)

    async def _wait(self, scope: Scope, send: Send, seconds: float) -> None:
        text = f"Too many wrong passwords: try again in {seconds:.0f} seconds."
        await refuse(scope, send, 429, text, {"Retry-After": f"{seconds:.0f}"})

    async def _guess(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrong passwords are counted by address; whoever gave too many waits."""
        address = address_of(self.context.settings, HTTPConnection(scope))
        wait = self.guesses.wait(address)
        if wait > 0:
            await self._wait(scope, send, wait)
            return
        self.guesses.begin(address)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.guesses.give_back(address)
                self._note_sessions(scope["app"].tokens)
            await send(message)

        await self.app(scope, receive, counted)


def is_open(path: str) -> bool:
    return (path.rstrip("/") or path) in OPEN or path.startswith(OPEN_FOLDERS)


class Guesses:
    """Five at once, then one in ten seconds; ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()
        """Address => when all of its guesses will be free again."""

    def wait(self, address: str) -> float:
        """Seconds until ``address`` may guess; 0 now."""
        ahead = self._due.get(address, 0.0) - self._clock()
        return max(0.0, ahead - (FREE_GUESSES - 1) * self._seconds(address))

    def _seconds(self, address: str) -> float:
        """Those behind one tunnel share a blank address: who guesses there must not lock all others out for long."""
        return SECONDS_A_GUESS if address else SECONDS_A_GUESS / 10

    def begin(self, address: str) -> None:
        """Counted before it is known to be wrong: many at once are many."""
        now = self._clock()
        self._due[address] = max(self._due.get(address, now), now) + self._seconds(address)
        self._due.move_to_end(address)
        while len(self._due) > MOST_ADDRESSES:
            self._due.popitem(last=False)

    def give_back(self, address: str) -> None:
        """One that was right; those before it stay counted, or whoever has an account could guess all others' passwords."""
        if address in self._due:
            self._due[address] -= self._seconds(address)
