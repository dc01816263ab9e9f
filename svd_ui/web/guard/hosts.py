"""Who may knock: the page answers to its own names, and to no other site's scripts.

A name that somebody points at this machine (DNS rebinding) makes a browser take their page for ours, so a page of this machine
answers to loopback's names alone. A script of another site that posts here is told by ``Sec-Fetch-Site``, which browsers set and
scripts cannot, or else by an ``Origin`` that is not where the page is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from ...hosting import space_hosts
from ...network import host_of
from ...settings import Settings, is_loopback
from ..visitor import is_forwarded, is_public
from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ..context import Context

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


class Hosts:
    """ASGI middleware; also notes that a web server hands strangers on to a page that was meant for this machine."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self.app, self.context, self.known = app, context, names(context.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers, settings = Headers(scope=scope), self.context.settings
        host = headers.get("host", "")
        if not answers_to(host, settings, self.known):
            name = host.encode("ascii", "replace").decode()[:100]
            text = f"This page does not answer to the name {name}. If it is meant to: SVD_UI_ALLOWED_HOSTS={name}"
            await refuse(scope, send, 421, text)
        elif not is_own(_method(scope), headers, self.known):
            await refuse(scope, send, 403, "Another site may not use this page: open it in a tab of its own.")
        else:
            self.context.forwarded |= is_forwarded(HTTPConnection(scope))
            await self.app(scope, receive, send)


def _method(scope: Scope) -> str:
    """Of what is asked for, not of how: gradio's way out changes something by GET."""
    if scope["type"] != "http":
        return "WS"
    out = scope["path"].rstrip("/").endswith("/logout")
    return "POST" if out else str(scope["method"])


def names(settings: Settings) -> frozenset[str]:
    """The names that were given to the page: by setting, by its address behind a proxy, by a Space."""
    given = {*filter(None, settings.allowed_hosts.split(",")), *space_hosts()}
    given.add(urlsplit(settings.root_path).netloc.lower())
    return frozenset(given - {""})


def answers_to(host: str, settings: Settings, known: Collection[str]) -> bool:
    """Whether ``host``, as in the header, is a name of the page.

    Of a public page whose names nobody told every name is; an address never is somebody else's name.
    """
    name = _name(host)
    if is_loopback(name) or name == host_of(settings).lower() or _is_known(host, known):
        return True
    if is_public(settings) and not settings.allowed_hosts:
        return bool(name)
    return is_public(settings) and _is_address(name)


def is_own(method: str, headers: Headers, known: Collection[str]) -> bool:
    """Whether a request is the page's own, or no browser's. A link from elsewhere may open the page; a picture or script of it
    inside another site's page may not be asked for, though that site could not read it.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in {"same-origin", "none"}:
        return True
    if origin is None:
        return site is None or (method in SAFE and headers.get("sec-fetch-mode", "navigate") == "navigate")
    where = urlsplit(origin)
    here = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").lower()}
    return any(_same(where.netloc.lower(), place, where.scheme) for place in here) or _is_known(where.netloc, known)


def _same(one: str, other: str, scheme: str) -> bool:
    port = PORTS.get(scheme, "")
    return bool(one) and one.removesuffix(f":{port}") == other.removesuffix(f":{port}")


def _is_known(host: str, known: Collection[str]) -> bool:
    """``*.example.org`` stands for every name below it; a name without a port for all of its ports."""
    host = host.lower()
    for pattern in known:
        found = host if pattern.rpartition("]")[2].count(":") else _with_brackets(host)
        if found == pattern or (pattern.startswith("*.") and found.endswith(pattern[1:])):
            return True
    return False


def _with_brackets(host: str) -> str:
    """Without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _name(host: str) -> str:
    return _with_brackets(host.lower()).strip("[]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
