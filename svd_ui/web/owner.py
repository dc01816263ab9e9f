"""Who is asking: every job belongs to a visitor, known by a token in a cookie (page) or in a parameter (API)."""

from __future__ import annotations

import hashlib
import os
import secrets
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from ..settings import Settings

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
    return settings.is_public or "SPACE_ID" in os.environ


def reader(settings: Settings, owner: str) -> str | None:
    """Whose jobs a visitor may list, cancel and delete: everybody's (None) on one's own machine."""
    return owner if is_public(settings) else None


def visitor(request: gr.Request | None) -> str:
    """The owner behind a page event. Without cookies the browser session stands in for the visitor."""
    cookies = getattr(request, "cookies", None) or {}
    token = cookies.get(COOKIE) or f"session:{getattr(request, 'session_hash', '')}"
    return owner_of(token)


class VisitorCookie:
    """ASGI middleware: gives every new browser its token, unreadable to scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in {"/", ""} or _has_token(scope):
            await self.app(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", _cookie(scope).encode())]
            await send(message)

        await self.app(scope, receive, with_cookie)


def _headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


def _has_token(scope: Scope) -> bool:
    return COOKIE in SimpleCookie(_headers(scope).get("cookie", ""))


def _cookie(scope: Scope) -> str:
    """Over https the page may sit in another site's frame (a Space does), which needs SameSite=None."""
    https = scope.get("scheme") == "https" or _headers(scope).get("x-forwarded-proto", "").startswith("https")
    rest = "SameSite=None; Secure; Partitioned" if https else "SameSite=Lax"
    return f"{COOKIE}={new_token()}; Path=/; Max-Age={YEAR}; HttpOnly; {rest}"
