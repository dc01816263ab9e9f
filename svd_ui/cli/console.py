"""What every command shares: where text goes, and how errors leave the program."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from ..errors import Cancelled, SvdUiError
from ..settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


def out() -> Console:
    """Results go to stdout, so that they can be piped."""
    return Console(highlight=False)


def err() -> Console:
    """Progress and messages go to stderr."""
    return Console(stderr=True, highlight=False)


def reporting(command: Callable[P, T]) -> Callable[P, T]:
    """Turn an SvdUiError into one sentence on stderr and its exit code; Ctrl+C into 130."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SvdUiError as error:
            complain(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(Cancelled.exit_code) from None

    return wrapped


def complain(error: SvdUiError) -> None:
    field = error.params.get("field")
    where = f" (--{str(field).replace('_', '-')})" if field else ""
    err().print(f"[bold red]svd-ui:[/] {_plain(error.message)}{where}", soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def settings_or_exit(**overrides: Any) -> Settings:
    """Settings from the environment, with the command's own options over them; a bad value is said and ends."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"])
            err().print(f"[bold red]svd-ui:[/] SVD_UI_{name.upper()}: {_plain(fault['msg'])}")
        raise typer.Exit(2) from None


def interactive() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
