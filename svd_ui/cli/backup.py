"""``python -m svd_ui backup`` and ``restore``: everything but the weights in one file, made while the app works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ..notes import size
from .console import err, out, reporting, settings_or_exit

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
ROWS_ELSEWHERE = (
    "The history and the queue are in PostgreSQL, and not in this file: back them up with pg_dump at the same time, "
    "first pg_dump, then this."
)


@reporting
def backup(
    path: Annotated[
        Path, typer.Argument(help="File to write: .tar, .tar.gz or .tar.zst. One that is there is replaced.")
    ],
    weights: Annotated[bool, typer.Option("--weights", help="The models folder of the data folder as well.")] = False,
    quiet: Quiet = False,
) -> None:
    """Back up history, clips, pictures, training runs and accounts into one file. The app may go on working."""
    from ..jobs.backup import write
    from ..web.ending import ending_in_order

    settings = settings_or_exit()
    with ending_in_order(), _bar("Backing up", quiet) as told:
        done = write(settings, path, weights=weights, told=told)
    out().print(
        f"{path}: {counted(done.jobs, 'clip')}, {done.files} files, {size(done.bytes)}.", soft_wrap=True, markup=False
    )
    if done.strange:
        names = ", ".join(map(repr, done.strange[:5])) + (", ..." if len(done.strange) > 5 else "")
        err().print(f"Left out, because the app did not put it there: {names}.", soft_wrap=True, markup=False)
    if not done.rows:
        err().print(ROWS_ELSEWHERE, soft_wrap=True)


@reporting
def restore(
    path: Annotated[Path, typer.Argument(help="A file that 'backup' wrote.")],
    into: Annotated[Path | None, typer.Option(help="Folder to restore into. Default: SVD_UI_DATA_DIR.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the whole file, change nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Into a folder that is not empty: what is in the way is put aside.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Bring a backup back: all of it is checked before anything changes. Stop the app first."""
    from ..jobs.restore import restore as bring_back
    from ..web.ending import ending_in_order

    settings = settings_or_exit(data_dir=into)
    with ending_in_order(), _bar("Checking" if dry_run else "Restoring", quiet) as told:
        done = bring_back(settings, path, force=force, dry_run=dry_run, told=told)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(done.made))
    jobs = "no history (it is in PostgreSQL)" if done.jobs is None else counted(done.jobs, "job")
    where = "The backup is whole" if dry_run else f"Restored into {settings.data_dir}"
    about = f"{where}: {jobs}, {done.files} files, {size(done.bytes)}, made {made}."
    out().print(about, soft_wrap=True, markup=False)
    if done.aside is not None:
        out().print(f"What was there before is in {done.aside}.", soft_wrap=True, markup=False)


def counted(count: int, what: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@contextmanager
def _bar(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True, disable=quiet or not err().is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
