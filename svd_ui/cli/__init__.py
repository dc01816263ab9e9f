"""The command line: ``python -m svd_ui``, or ``svd-ui`` where the package was installed.

``serve`` and ``history`` are here, every longer command in a file of its own; heavy imports wait until one runs.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadInput
from ..jobs import Job
from ..settings import Settings
from .accounts import accounts
from .console import out, reporting, settings_or_exit
from .doctor import doctor
from .generate import generate
from .models import models
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


@reporting
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs to show.")] = 20,
    before: Annotated[str | None, typer.Option(help="A job id: show older ones.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print status objects as JSON.")] = False,
) -> None:
    """List jobs and where their clips are."""
    from ..jobs import status
    from ..jobs.service import open_store

    with open_store(settings_or_exit()) as jobs:
        found = jobs.history(None, limit, before)
        files = {job.id: jobs.file(job, "video") for job in found}
        if as_json:
            typer.echo(json.dumps([status(job, jobs.file) for job in found], indent=2, default=str))
            return
    if not found:
        out().print("No clips yet.")
    for job in found:
        out().print(_line(job), soft_wrap=True, markup=False)
        if files[job.id] is not None:
            out().print(f"    {files[job.id]}", soft_wrap=True, markup=False)


def _line(job: Job) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    what = job.request.prompt or job.request.checkpoint
    error = f"  {(job.error or {}).get('message', '')}" if job.state == "failed" else ""
    return f"{when}  {job.id}  {job.state:<11} seed {job.request.seed}  {what}{error}"


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
app.command()(history)
app.command("train")(train)
app.command()(doctor)
app.add_typer(models, name="models")
app.add_typer(accounts, name="accounts")


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
