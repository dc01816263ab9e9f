"""What stands between the network and the page, outermost first: what is noted of each, who may knock, how it is answered, who is logged in, how much.

Each is one ASGI middleware of one file, and holds for gradio's routes as for ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.middleware import Middleware

from ..visitor import RootPath, VisitorCookie
from .answers import Answers
from .hosts import Hosts
from .limits import Limits
from .login import Login
from .watched import Watched

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from ..context import Context

__all__ = ["middleware"]


def middleware(context: Context, own: Sequence[BaseRoute]) -> list[Middleware]:
    """In the order in which a request meets them. ``own`` as in ``RootPath``."""
    settings = context.settings
    return [
        Middleware(Watched, metrics=context.metrics, root_path=urlsplit(settings.root_path).path),
        Middleware(Answers, settings=settings),
        Middleware(Hosts, context=context),
        Middleware(RootPath, root_path=settings.root_path, own=own),
        Middleware(Login, context=context),
        Middleware(Limits, context=context),
        Middleware(VisitorCookie),
    ]
