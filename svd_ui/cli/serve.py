"""``python -m svd_ui serve``: the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadInput
from ..settings import Settings
from .console import reporting, settings_or_exit


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
    share: Annotated[bool | None, typer.Option(help=_about("share"))] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Show the page in a browser; default where there is a screen."),
    ] = None,
) -> None:
    """Open the page. Options win over the SVD_UI_ variables; 'python -m svd_ui doctor' lists those."""
    settings = settings_or_exit(
        host=host, port=port, data_dir=data_dir, checkpoint=checkpoint, profile=profile, devices=devices, share=share
    )
    from ..web import launch

    try:
        launch(settings, open_browser=open_browser)
    except OSError as error:  # no free port, an address that is not this machine's, a data folder on a full disk
        raise BadInput(str(error)) from error
