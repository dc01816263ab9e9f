"""``python -m svd_ui accounts``: who may log in."""

from __future__ import annotations

from typing import Annotated

import typer

from ..accounts import ROLES, SHORTEST, Accounts
from .console import out, reporting, settings_or_exit

accounts = typer.Typer(
    help="People who may log in to the page: operators see everything, users their own.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="What the person logs in as.")]


def _accounts() -> Accounts:
    return Accounts(settings_or_exit().accounts_file)


@accounts.command("add")
@reporting
def add(
    name: Name,
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "user",
    password: Annotated[
        str,
        typer.Option(
            prompt=True,
            hide_input=True,
            confirmation_prompt=True,
            help=f"At least {SHORTEST} letters. Asked for if not given.",
        ),
    ] = "",
) -> None:
    """Add a person, or give one another role and password. Takes effect at once; the first account closes the page."""
    known = _accounts()
    first = not known.all()
    known.add(name, role, password)
    out().print(f"{name} may log in as {role}.", markup=False)
    if first:
        out().print("Start the app again: from then on everybody logs in.")


@accounts.command("list")
@reporting
def list_accounts() -> None:
    """Show who may log in, and as what."""
    known = _accounts().all()
    for name, role in known.items():
        out().print(f"{name}  {role}", markup=False)
    if not known:
        out().print("No accounts yet.")


@accounts.command("remove")
@reporting
def remove(name: Name) -> None:
    """Lock a person out, at once. Their clips stay."""
    _accounts().remove(name)
    out().print(f"{name} may no longer log in.", markup=False)
