"""``python -m svd_ui history``: what was made on this data folder, newest first."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from ..jobs import Job
from .console import out, reporting, settings_or_exit


@reporting
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs to show.")] = 20,
    before: Annotated[str | None, typer.Option(help="A job id: show the ones older than it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print status objects as JSON.")] = False,
) -> None:
    """List jobs and where their clips are."""
    from ..jobs.service import open_store
    from ..jobs.status import status

    settings = settings_or_exit()
    jobs = open_store(settings)
    try:
        found = jobs.history(None, limit, before)
        files = {job.id: jobs.file(job, "video") for job in found}
        if as_json:
            typer.echo(json.dumps([status(job, jobs) for job in found], indent=2, default=str))
            return
    finally:
        jobs.close()
    if not found:
        out().print("Nothing was made yet.")
    for job in found:
        out().print(_line(job), soft_wrap=True, markup=False)
        if files[job.id] is not None:
            out().print(f"    {files[job.id]}", soft_wrap=True, markup=False)


def _line(job: Job) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    what = job.request.prompt or job.request.checkpoint
    error = f"  {(job.error or {}).get('message', '')}" if job.state == "failed" else ""
    return f"{when}  {job.id}  {job.state:<11} seed {job.request.seed}  {what}{error}"
