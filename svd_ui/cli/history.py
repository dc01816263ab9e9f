"""``python -m svd_ui history``: jobs and where their clips are, and a new history where the old one is damaged."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from ..errors import BadInput
from ..jobs import Job
from ..notes import size
from .console import err, interactive, out, reporting, settings_or_exit

history = typer.Typer(invoke_without_command=True, help="List jobs and where their clips are.")


@history.callback()
@reporting
def show(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs to show.")] = 20,
    before: Annotated[str | None, typer.Option(help="A job id: show older ones.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print status objects as JSON.")] = False,
) -> None:
    """List jobs and where their clips are."""
    if context.invoked_subcommand is not None:
        return
    from ..jobs import status
    from ..jobs.recovery import unlisted
    from ..jobs.service import open_store

    with open_store(settings_or_exit()) as jobs:
        found = jobs.history(None, limit, before)
        files = {job.id: jobs.file(job, "video") for job in found}
        if as_json:
            typer.echo(json.dumps([status(job, jobs.file) for job in found], indent=2, default=str))
            return
    if not found and before is None and (lost := unlisted(jobs.settings)):
        out().print(
            f"The history is empty, but {lost} clips lie in {jobs.settings.jobs_dir}: "
            "'python -m svd_ui history recover' lists them again.",
            soft_wrap=True,
        )
    elif not found:
        out().print("No clips yet.")
    for job in found:
        out().print(line_of(job), soft_wrap=True, markup=False)
        if files[job.id] is not None:
            out().print(f"    {files[job.id]}", soft_wrap=True, markup=False)


@history.command()
@reporting
def recover() -> None:
    """Rebuild a damaged history from the clips. The old file is kept beside the new one."""
    from ..jobs.recovery import recover

    done = recover(settings_or_exit())
    out().print(f"{done.jobs} clips are in the history again.")
    if done.kept is not None:
        out().print(f"The history that was there is kept as {done.kept}.", soft_wrap=True, markup=False)
    if done.unreadable:
        err().print(f"{len(done.unreadable)} clips carry no settings and were left where they are.")


@history.command()
@reporting
def prune(
    older_than: Annotated[str | None, typer.Option(help="Delete clips older than this, such as 30d or 8w.")] = None,
    larger_than: Annotated[
        str | None, typer.Option(help="Delete the oldest until all clips together are no larger, such as 50GB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete old clips for good. Without options by SVD_UI_KEEP_DAYS and SVD_UI_KEEP_GB, as the app does by itself."""
    from ..jobs.retention import Rule, bytes_of, seconds_of, when
    from ..jobs.service import open_store

    settings = settings_or_exit()
    rule = Rule(seconds_of(older_than) if older_than else None, bytes_of(larger_than) if larger_than else None)
    rule = Rule.of(settings) if rule.keeps_all else rule
    if rule.keeps_all:
        raise BadInput(
            "Say what may go: --older-than 30d, --larger-than 50GB, or both. All clips are kept for ever now."
        )
    with open_store(settings) as jobs:
        found = jobs.prune(rule, dry_run=True)
        if found.oldest is None or found.newest is None:
            out().print("Nothing to delete.")
            return
        clips = "1 clip" if len(found.ids) == 1 else f"{len(found.ids)} clips"
        about = f"{clips}, {size(found.bytes)}, from {when(found.oldest)} to {when(found.newest)}"
        if dry_run:
            out().print(f"Would go: {about}.", soft_wrap=True)
            return
        if not yes and interactive() and not typer.confirm(f"Delete {about}? This cannot be undone"):
            raise typer.Exit(1)
        jobs.prune(rule)
    out().print(f"Deleted: {about}.", soft_wrap=True)


def line_of(job: Job) -> str:
    """A job in one line."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    what = job.request.prompt or job.request.checkpoint
    error = f"  {(job.error or {}).get('message', '')}" if job.state == "failed" else ""
    return f"{when}  {job.id}  {job.state:<11} seed {job.request.seed}  {what}{error}"
