"""The page and the HTTP API, a view over ``JobService``; here is how they are served. Importing this package is cheap: gradio
comes with the first call.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..accounts import Accounts, require_accounts
from ..hosting import on_space
from ..logs import set_up
from ..network import bracketed, free_port, host_of, keep_local, shown, tls
from ..settings import REPOSITORY, Settings
from .ending import ending_in_order
from .visitor import is_public

if TYPE_CHECKING:
    import gradio as gr

    from ..jobs.service import JobService
    from .context import Context


__all__ = ["build_ui", "launch", "serve"]

ASSETS = REPOSITORY / "assets"
SESSIONS = 400
"""Open pages that gradio keeps state for, at most 400 kB each; of those longest without a word it is forgotten."""
THREADS = 10
"""In which handlers run: more of them only take turns from each other, and from what is asked beside them."""
FILES = 65_536
ADDRESS = "Upload the file: addresses are not fetched here."
PATH = "Upload the file: paths on the server are not read."
WARNING = (
    "Anyone who can reach this address can use this page and its API. Set SVD_UI_AUTH=user:password to ask for a "
    "login, or SVD_UI_HOST=127.0.0.1 to keep it on this machine."
)


def launch_options(settings: Settings) -> dict[str, Any]:
    """What gradio's ``launch`` is given, less the routes."""
    from .formatting import html
    from .guard.login import asking

    return {
        "server_name": bracketed(host_of(settings)),
        "root_path": settings.root_path,
        **tls(settings),
        "theme": theme(),
        "css": _joined("css"),
        "head": html("head", scripts=_joined("js"), styles=(ASSETS / "head.css").read_text("utf-8")),
        "favicon_path": str(ASSETS / "favicon.svg"),
        "max_file_size": settings.max_upload_mb * 1_000_000,
        "auth": asking(settings, Accounts(settings.accounts_file)),
        "state_session_capacity": SESSIONS,
        "max_threads": THREADS,
        "share": settings.share,
        "footer_links": ["api"],
        "ssr_mode": False,
        "run_history": False,
        "pwa": False,
        "quiet": True,
        "show_error": False,
    }


def _joined(kind: str) -> str:
    """All files of assets/css or assets/js; the numbers they begin with say in which order."""
    return "\n".join(path.read_text("utf-8") for path in sorted((ASSETS / kind).glob(f"*.{kind}")))


def theme() -> gr.themes.Base:
    """One accent on quiet greys; contrast of text and controls at least 4.5:1 in both modes. No font is fetched."""
    import gradio as gr

    look = json.loads((ASSETS / "theme.json").read_text("utf-8"))
    accent, grey = gr.themes.Color(*look["accent"]), gr.themes.Color(*look["grey"])
    base = gr.themes.Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue=grey,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
        font=look["sans"],
        font_mono=look["mono"],
    )
    return base.set(**look["values"])


def build_ui(context: Context) -> gr.Blocks:
    """The page, not yet served."""
    prepare(context.settings)
    from .animate import page_of

    with _no_app_yet():
        return page_of(context)


@contextmanager
def _no_app_yet() -> Iterator[None]:
    """gradio makes a web app of some eighty routes for a page that is begun, for one that is complete, and for one that is
    served. Nobody asks the first two anything, and they are a twenty-fifth of the time until the page is there.
    """
    from gradio.routes import App

    made = App.create_app
    setattr(App, "create_app", staticmethod(lambda *_, **__: None))  # noqa: B010 (mypy takes it for a method)
    try:
        yield
    finally:
        setattr(App, "create_app", staticmethod(made))  # noqa: B010


def serve(jobs: JobService, settings: Settings, **extra: Any) -> tuple[gr.Blocks, str]:
    """Build the page and start its server without waiting; returns it and its address."""
    prepare(settings)
    from .context import Context
    from .guard import middleware
    from .routes import routes

    context = Context(jobs, settings)
    options = launch_options(settings)
    own = routes(context)
    demo = build_ui(context)
    port = free_port(host_of(settings), settings.port)
    app_kwargs = {"routes": own, "middleware": middleware(context, own)}
    _, url, shared = demo.launch(
        **{**options, "server_port": port, "app_kwargs": app_kwargs, "prevent_thread_lock": True, **extra}
    )
    return demo, shared or shown(url)


def prepare(settings: Settings) -> None:
    """Before gradio is imported: nothing is reported to anybody, uploads stay in the data folder, no proxy in between."""
    keep_local(host_of(settings))
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    uploads = settings.data_dir / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GRADIO_TEMP_DIR", str(uploads.resolve()))
    from .no_hops import without_hops
    from .sessions import use_light_sessions

    # What answers everybody waits so long for each handler that computes. Much less, and threads do nothing but take turns.
    sys.setswitchinterval(0.002)
    _say_what_failed()
    _take_uploads_alone()
    use_light_sessions()
    without_hops()


def _say_what_failed() -> None:
    """gradio answers ``{"error": null}`` where a handler, or what it was called with, is broken: say a sentence instead."""
    import gradio.queueing
    import gradio.utils

    from .errors_of_gradio import payload

    setattr(gradio.utils, "error_payload", payload)  # noqa: B010 (both names are looked up when a call fails)
    setattr(gradio.queueing, "error_payload", payload)  # noqa: B010


def _take_uploads_alone() -> None:
    """gradio downloads whatever address a client calls a file, without a limit and from wherever this machine can reach; and a
    path that a client made up goes into the log as it came.
    """
    import gradio.processing_utils
    from gradio.exceptions import Error, InvalidPathError

    async def refused(*_: Any, **__: Any) -> Any:
        raise Error(ADDRESS, print_exception=False)

    def outside(text: str) -> Exception:
        made_up = "not uploaded by a user" in text
        return Error(PATH, print_exception=False) if made_up else InvalidPathError(text)

    for name in ("async_ssrf_protected_download", "async_ssrf_protected_get"):  # by these names all of gradio does
        setattr(gradio.processing_utils, name, refused)
    setattr(gradio.processing_utils, "InvalidPathError", outside)  # noqa: B010 (mypy takes it for a class)


def launch(settings: Settings, *, open_browser: bool | None = None) -> None:
    """Serve until interrupted: workers, jobs left from before, page and API. Blocks."""
    set_up(settings.log_format, logging.WARNING, settings.log_file, settings.log_file_mb, settings.log_files)
    prepare(settings)
    open_more_files()
    tls(settings)  # what cannot be served at all is said before a worker starts
    require_accounts(settings)
    free_port(host_of(settings), settings.port)
    from ..jobs.compose import compose

    with ending_in_order(), compose(settings) as jobs:
        demo, url = serve(jobs, settings)
        settle()
        print(f"SVD UI is at {url}", flush=True)
        if settings.root_path:
            print(f"A proxy is expected to show it under {settings.root_path}/", flush=True)
        if is_public(settings) and not settings.has_login:
            print(f"Warning: {WARNING}", file=sys.stderr, flush=True)
        if open_browser if open_browser is not None else _interactive():
            _show(url)
        try:
            demo.block_thread()
        finally:
            demo.close(verbose=False)


def open_more_files() -> None:
    """As many as this process may, but not without end: every open page is two or three, and the usual 1024 are soon taken."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit; elsewhere the system may know better
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def settle() -> None:
    """For a process that serves this page until it ends: what the page is made of is no garbage, and to look through all of it
    again takes a third of a second in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def _interactive() -> bool:
    """Whether somebody sits at this machine: a terminal and, on Linux, a display."""
    display = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return sys.stdout.isatty() and display and not on_space() and not Path("/.dockerenv").exists()


def _show(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
