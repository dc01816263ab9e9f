"""The command line: ``python -m svd_ui``, or ``svd-ui`` where the package was installed. One file per command; heavy imports wait until a command runs."""

from __future__ import annotations

import typer

from .doctor import doctor
from .generate import generate
from .history import history
from .models import models
from .serve import serve
from .train import train

app = typer.Typer(
    name="svd-ui",
    help="Stable Video Diffusion on your own machine: the page, and the same work from the command line.",
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


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and leave.")) -> None:
    if version:
        from .. import __version__

        typer.echo(f"svd-ui {__version__}")
        raise typer.Exit()


def main() -> None:
    """The entry point of ``svd-ui``."""
    app()


__all__ = ["app", "main"]
