"""``python -m svd_ui store``: where the queue and the history are, and moving them from the SQLite file into PostgreSQL or back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInput, without_secrets
from .console import err, out, reporting, settings_or_exit

if TYPE_CHECKING:
    from ..settings import Settings

store = typer.Typer(help="See where the queue and the history are, and move them.", no_args_is_help=True)


@store.command()
@reporting
def check() -> None:
    """Say where the queue and the history are, what is in them, and whether the data folder is the right one."""
    from ..jobs.database import MIGRATIONS
    from ..jobs.leases import live
    from ..jobs.queue import CLIPS, DOWNLOADS
    from ..jobs.store import Store, open_database

    settings = settings_or_exit()
    if not settings.is_shared and not settings.history_file.is_file():
        out().print(f"No history yet. It will be in {settings.history_file}.", soft_wrap=True, markup=False)
        return
    with closing(open_database(settings)) as database:
        jobs = Store(database)
        counted = sum(jobs.counted().values())
        waiting, running = jobs.waiting((*CLIPS, *DOWNLOADS)), len(jobs.running((*CLIPS, *DOWNLOADS)))
        rows = [
            ("database", f"{'PostgreSQL' if settings.is_shared else 'SQLite'}, {database.name}"),
            ("schema", f"{len(MIGRATIONS)}, which is this release's"),
            ("data folder", f"{settings.data_dir}"),
            ("jobs", f"{counted}, of which {waiting} wait and {running} run"),
            ("pages", f"{len(live(database))} running"),
        ]
    for name, value in rows:
        out().print(f"{name:<12} {value}", soft_wrap=True, markup=False)


@store.command()
@reporting
def adopt() -> None:
    """Take this data folder for the one that the PostgreSQL database belongs to, such as after it was restored."""
    from ..jobs.postgres import PostgresDatabase

    settings = settings_or_exit()
    if not settings.is_shared:
        raise BadInput("Only a PostgreSQL database belongs to a data folder: set SVD_UI_DATABASE.")
    with closing(PostgresDatabase(settings.database.get_secret_value(), settings.data_dir, "adopt")) as database:
        out().print(f"{settings.data_dir} belongs to {database.name} now.", soft_wrap=True, markup=False)


@store.command()
@reporting
def migrate(
    source: Annotated[
        str | None,
        typer.Argument(help="sqlite:///file, a file or a data folder, or postgresql://. Default: the file here."),
    ] = None,
    target: Annotated[
        str | None, typer.Argument(help="The same. Default: SVD_UI_DATABASE, which keeps a password off this line.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied.")] = False,
) -> None:
    """Copy the queue and the history into an empty database. The source stays as it is; no page may run."""
    from ..jobs.copying import Copying

    settings = settings_or_exit()
    source, target = source or str(settings.history_file), target or _shared(settings)
    copying = Copying(settings, source, target)
    if dry_run:
        copying.look()
    else:
        copying.run()
    counts = copying.counts
    said = f"{counts['jobs']} jobs and {counts['timings']} measured times"
    where = without_secrets(target)
    text = f"{said} would be copied to {where}." if dry_run else f"{said} were copied to {where}."
    out().print(text, soft_wrap=True, markup=False)
    if copying.damaged:
        err().print(f"{copying.damaged} damaged rows were left where they are.")


def _shared(settings: Settings) -> str:
    if not settings.is_shared:
        raise BadInput("Say where to: name the target, or set SVD_UI_DATABASE.")
    return settings.database.get_secret_value()
