"""The command line: ``python -m svd_ui``, or ``svd-ui`` where the package was installed.

``serve`` is here, every other command in a file of its own; heavy imports wait until one runs.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadInput
from ..settings import Settings
from .accounts import accounts
from .backup import backup, restore
from .cluster import cluster
from .console import reporting, settings_or_exit
from .doctor import doctor
from .generate import generate
from .history import history
from .models import models
from .queue import queue
from .run import run
from .space import space
from .store import store
from .train import train

__all__ = ["app", "main"]


def _about(name: str) -> str:
    """The setting's own help, and its variable."""
    return f"{Settings.model_fields[name].description} [SVD_UI_{name.upper()}]"


@reporting
def serve(
    host: Annotated[str | None, typer.Option(help=_about("host"))] = None,
    port: Annotated[int | None, typer.Option(help=_about("port"))] = None,
    data_dir: Annotated[Path | None, typer.Option(help=_about("data_dir"))] = None,
    checkpoint: Annotated[str | None, typer.Option(help=_about("checkpoint"))] = None,
    profile: Annotated[str | None, typer.Option(help=_about("profile"))] = None,
    devices: Annotated[str | None, typer.Option(help=_about("devices"))] = None,
    root_path: Annotated[str | None, typer.Option(help=_about("root_path"))] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help=_about("ssl_certfile"))] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help=_about("ssl_keyfile"))] = None,
    share: Annotated[bool | None, typer.Option(help=_about("share"))] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser. Default: where there is a screen."),
    ] = None,
) -> None:
    """Open the page. Options override the SVD_UI_ variables, which 'python -m svd_ui doctor' lists."""
    settings = settings_or_exit(
        host=host,
        port=port,
        data_dir=data_dir,
        checkpoint=checkpoint,
        profile=profile,
        devices=devices,
        root_path=root_path,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        share=share,
    )
    from ..web import launch

    try:
        launch(settings, open_browser=open_browser)
    except OSError as error:
        if error.filename is not None:
            raise
        raise BadInput(str(error)) from error  # no free port, an address that is not this machine's


app = typer.Typer(
    name="svd-ui",
    help="Stable Video Diffusion on your own machine: the page, and the same from the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(generate)
app.command()(run)
app.command("train")(train)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.add_typer(history, name="history")
app.add_typer(models, name="models")
app.add_typer(accounts, name="accounts")
app.add_typer(queue, name="queue")
app.add_typer(cluster, name="cluster")
app.add_typer(space, name="space")
app.add_typer(store, name="store")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and quit.")) -> None:
    if version:
        from .. import __version__

        typer.echo(f"svd-ui {__version__}")
        raise typer.Exit()


def main(args: Sequence[str] | None = None) -> None:
    """The entry point of ``svd-ui``; ``args`` instead of the process's own.

    A console that lacks a letter, such as Windows' cp1252, shows a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(args)
