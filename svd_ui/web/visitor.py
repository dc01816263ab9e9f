"""Who is asking: every job belongs to a visitor, known by a token in a cookie (page) or in a parameter (API)."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match

from .. import __version__
from ..accounts import Accounts
from ..asset_ref import REF
from ..doctor import device_facts
from ..engine import Device
from ..errors import without_secrets
from ..hosting import on_space, on_zero_gpu, signs_in
from ..jobs import Job
from ..notes import sentence
from ..request import SCHEMA_VERSION
from ..settings import Settings, is_loopback

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "svd_ui_visitor"
YEAR = 365 * 24 * 3600


def new_token() -> str:
    """128 random bits, for a visitor the app has not met."""
    return secrets.token_urlsafe(16)


def owner_of(token: str) -> str:
    """The owner a token stands for. Only the digest is stored: reading the database gives nobody a token."""
    return "v-" + hashlib.sha256(token.encode()).hexdigest()[:32]


def is_public(settings: Settings) -> bool:
    """Whether strangers can reach the page: by address, share link, or because this is a Space."""
    return settings.is_public or on_space()


def may_train(settings: Settings) -> bool:
    """Whether the Train tab, its handlers and its files are there: on one's own machine, or behind a login; not where a GPU is
    lent for a minute.
    """
    return not on_zero_gpu() and (not is_public(settings) or settings.has_login)


FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""Headers that a web server in between adds: whoever comes through one is no longer known to sit at this machine."""


@dataclass(frozen=True)
class Visitor:
    """Who is asking. ``operates``: may download weights, free memory, train. ``sees_all``: lists, cancels and deletes
    everybody's jobs. ``address`` is blank where it says nothing, as behind a tunnel.
    """

    owner: str
    operates: bool = False
    sees_all: bool = False
    address: str = ""

    @property
    def reads(self) -> str | None:
        """Whose jobs are listed, cancelled and deleted: everybody's (None) by the operator."""
        return None if self.sees_all else self.owner


def who(
    settings: Settings, accounts: Accounts, request: gr.Request | Asked | None, token: str | None = None
) -> Visitor:
    """The visitor behind a page event or a call of the API with its ``token``.

    An account owns its jobs wherever it logs in. Everybody else is known by a token; without cookies the browser session
    stands in for it.
    """
    address, forwarded = address_of(settings, request), is_forwarded(request)
    local = not is_public(settings) and not forwarded
    if settings.has_accounts:
        name = getattr(request, "username", None)
        operator = accounts.role(name) == "operator" or (settings.credentials or ("",))[0] == name
        return Visitor(owner_named("account", str(name)), operator, operator, address)
    profile = signed_in(request)
    if profile is not None:
        operator = profile in {os.environ.get("SPACE_AUTHOR_NAME"), *map(str.strip, settings.operators.split(","))}
        return Visitor(owner_named("hub", profile), operator, operator, address)
    return Visitor(_anonymous(request, token), local or settings.credentials is not None, local, address)


def logged_in(connection: HTTPConnection) -> str | None:
    """The name that gradio gave one of the connection's cookies to."""
    found = map(connection.scope["app"].tokens.get, sessions(connection))
    name: str | None = next((name for name in found if name is not None), None)
    return name


def sessions(connection: HTTPConnection) -> list[str]:
    """The tokens of gradio's login among the connection's cookies."""
    id, cookies = connection.scope["app"].cookie_id, connection.cookies
    return [cookies[name] for name in (f"access-token-{id}", f"access-token-unsecure-{id}") if name in cookies]


class Asked:
    """A plain connection as handlers know ``gr.Request``: with the name that is logged in."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.request, self.session_hash = connection, ""
        self.headers, self.cookies, self.client = connection.headers, connection.cookies, connection.client
        self.username = logged_in(connection)


def owner_named(kind: str, name: str) -> str:
    """The owner that a name stands for; no token gives the same."""
    return "a-" + hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:32]


def _anonymous(request: gr.Request | Asked | None, token: str | None) -> str:
    cookies = getattr(request, "cookies", None) or {}
    return owner_of(token or cookies.get(COOKIE) or f"session:{getattr(request, 'session_hash', '') or new_token()}")


def is_forwarded(request: Any) -> bool:
    """Whether a web server handed the request on."""
    headers = getattr(request, "headers", None) or {}
    return any(name in headers for name in FORWARDED)


def address_of(settings: Settings, request: Any) -> str:
    """Where a request comes from; of IPv6 the network, of which everybody has a whole one."""
    host = getattr(getattr(request, "client", None), "host", None) or ""
    if on_space() or (is_public(settings) and is_loopback(host)):
        return ""  # a proxy's, which everybody shares
    with suppress(ValueError):
        if (address := ipaddress.ip_address(host)).version == 6:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def signed_in(request: gr.Request | Asked | None) -> str | None:
    """The name at the hub of whoever signed in with a Space's button (gradio's OAuth) and whose time is not over; None
    elsewhere.
    """
    scope = getattr(getattr(request, "request", None), "scope", None) or {}
    if not signs_in() or "session" not in scope:
        return None
    told = (scope["session"] or {}).get("oauth_info") or {}
    if (told.get("expires_at") or math.inf) < time.time():
        return None
    name = told.get("userinfo", {}).get("preferred_username")
    return str(name) if name else None


class VisitorCookie:
    """ASGI middleware: gives every new browser its token, unreadable to scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = HTTPConnection(scope) if scope["type"] == "http" and route_path(scope) in {"/", ""} else None
        if asked is None or COOKIE in asked.cookies:
            await self.app(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", _cookie(asked).encode())]
            await send(message)

        await self.app(scope, receive, with_cookie)


def route_path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _cookie(asked: HTTPConnection) -> str:
    """Over https the page may sit in another site's frame (a Space does), which needs SameSite=None."""
    https = (
        on_space()
        or asked.scope.get("scheme") == "https"
        or asked.headers.get("x-forwarded-proto", "").startswith("https")
    )
    rest = "SameSite=None; Secure; Partitioned" if https else "SameSite=Lax"
    return f"{COOKIE}={new_token()}; Path={asked.scope.get('root_path', '')}/; Max-Age={YEAR}; HttpOnly; {rest}"


class RootPath:
    """ASGI middleware: the page under a sub-path of somebody's server, whether the proxy takes it off or leaves it on.

    Every request goes on as the specification of ASGI wants it, ``path`` with ``root_path`` before it. ``own`` are the
    routes whose name a sub-path may have too: ``/svd/still/x`` is a picture, not ``/still/x`` under ``/svd``.
    """

    def __init__(self, app: ASGIApp, root_path: str, own: Sequence[BaseRoute]) -> None:
        self.app, self.own = app, own
        self.root = urlsplit(root_path).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
        elif self.root and scope["path"] == self.root and scope["type"] == "http":
            # Addresses on the page start from its folder.
            query = scope["query_string"].decode("latin-1")
            where = f"{self.root}/" + (f"?{query}" if query else "")
            await RedirectResponse(where, 308)(scope, receive, send)
        else:
            await self.app({**scope, "root_path": self.root, "path": self._path(scope)}, receive, send)

    def _path(self, scope: Scope) -> str:
        path: str = scope["path"]
        plain = {**scope, "root_path": ""}
        if path.startswith(f"{self.root}/") and all(route.matches(plain)[0] is Match.NONE for route in self.own):
            return path
        return self.root + path


HIDDEN = "a folder of this server"
_PATHS = re.compile(r"(?:[A-Za-z]:)?[\\/](?:[\w.\- ]+[\\/])+[\w.\-]*")


_FOLDERS = re.compile(r"(?<![\w:/\\.])(?:~|[A-Za-z]:)?[\\/][\w.\-]+(?:[\\/][\w.\-]+)*[\\/]?(?<!\.)")


def said(error: Mapping[str, Any], remote: bool) -> str:
    """The sentence of an error (``SvdUiError.to_dict``) for a visitor; folders and addresses behind the server only for its operator."""
    message = str(error.get("message", ""))
    if not remote:
        return message
    for name, value in (error.get("params") or {}).items():
        if isinstance(value, str) and value and (name == "address" or _FOLDERS.match(value)):
            message = message.replace(value, HIDDEN)  # whole, also where a name has spaces
    return _FOLDERS.sub(HIDDEN, message)


def settings_json(job: Job) -> str:
    """The request as JSON that the page, the command line and the API take back."""
    request = job.known_request.model_dump(mode="json", exclude_none=True)
    effective = job.result.effective.model_dump(mode="json") if job.result and job.result.effective else {}
    versions = job.result.versions if job.result else {}
    return json.dumps({"svd_ui": SCHEMA_VERSION, "request": request, "effective": effective, "versions": versions})


def error_report(job: Job, device: Device | None) -> str:
    """Markdown for an issue. Prompts and pictures are the visitor's own and stay out."""
    request = job.request.model_dump(mode="json", exclude_none=True)
    private = ("prompt", "negative_prompt", "image")
    shown = {key: "(given)" if key in private else value for key, value in request.items()}
    parts: dict[str, Any] = {
        "error": job.error or {"code": job.state},
        "stage": {"step": job.step, "total": job.total},
        "notes": list(map(sentence, job.notes)),
        "request": shown,
        "device": device_facts(device),
        "versions": {"svd_ui": __version__, "python": sys.version.split()[0], "system": platform.platform(), **_page()},
    }
    text = REF.sub("(given)", json.dumps(parts, indent=2, default=str))
    return clean(f"### SVD UI error report\n\n```json\n{text}\n```\n")


def clean(text: str) -> str:
    """Tokens, home folders and paths made unreadable."""
    text = without_secrets(text).replace(str(Path.home()), "~")
    return _PATHS.sub(lambda match: "(path)/" + re.split(r"[\\/]", match[0])[-1], text)


def _page() -> dict[str, str]:
    from gradio import __version__ as gradio_version

    return {"gradio": gradio_version}
