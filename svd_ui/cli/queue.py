"""``python -m svd_ui queue``: what waits, in which order, and for now or not; by id, or as much of it as tells one from another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput
from ..notes import sentence
from ..request import GenerationRequest
from . import fields
from .console import duration, err, out, reporting, settings_or_exit

if TYPE_CHECKING:
    from ..jobs import Job
    from ..jobs.service import JobService

queue = typer.Typer(help="See and arrange the clips that wait.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The job: its id, or the beginning of it.")]


@contextmanager
def _jobs() -> Iterator[JobService]:
    from ..jobs.service import open_store

    with open_store(settings_or_exit()) as jobs:
        yield jobs


def _found(jobs: JobService, beginning: str) -> str:
    """The id that begins so. Raises BadInput for none, or several."""
    ids = [job.id for job in jobs.queue.jobs() if job.id.startswith(beginning)]
    if len(ids) != 1:
        known = "No job that runs or waits has" if not ids else f"{len(ids)} jobs have"
        raise BadInput(f"{known} an id that begins with {beginning[:40]!r}.")
    return ids[0]


@queue.command("list")
@reporting
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print status objects as JSON.")] = False) -> None:
    """Show what runs and what waits, in order, and what each device does."""
    from ..jobs import status
    from ..jobs.rotation import in_words, plain

    with _jobs() as jobs:
        found, paused, devices = jobs.queue.jobs(), jobs.queue.paused, jobs.devices()
        places = jobs.places(found)
        if as_json:
            told = {
                "paused": paused,
                "devices": [plain(one) for one in devices],
                "jobs": [status(job, jobs.file, places.get(job.id)) for job in found],
            }
            typer.echo(json.dumps(told, indent=2, default=str))
            return
    for one in devices:
        name = f" ({one.device.name})" if one.device is not None else ""
        work = f" {one.job[:8]}" if one.job else ""
        out().print(f"{one.name}{name}: {in_words(one)}{work}", soft_wrap=True, markup=False)
    if paused:
        out().print("Paused.")
    if not found:
        out().print("Nothing waits.")
    _print(found, places)


def _print(jobs: list[Job], places: dict[str, tuple[int, int]]) -> None:
    for job in jobs:
        out().print(_line(job, places.get(job.id)), soft_wrap=True, markup=False)


def _line(job: Job, of: tuple[int, int] | None = None) -> str:
    place = "now" if job.position is None else f"{job.position + 1}"
    left = f"  about {duration(job.eta_seconds)} left" if job.eta_seconds else ""
    what = job.name or job.request.prompt or job.request.checkpoint
    said = f"  {job.message}" if job.message else ""
    together = f"  {of[0]} of {of[1]}" if of else ""
    return f"{place:>4}  {job.id}  {job.state:<11} seed {job.request.seed}  {what}{together}{left}{said}"


@queue.command()
@reporting
def pause() -> None:
    """Stop what runs, keep how far it is, and begin nothing until 'resume'."""
    with _jobs() as jobs:
        jobs.queue.pause()
    out().print("Paused. To continue: python -m svd_ui queue resume")


@queue.command()
@reporting
def resume() -> None:
    """Continue, each clip from its last step."""
    with _jobs() as jobs:
        jobs.queue.resume()
    out().print("Continuing.")


@queue.command()
@reporting
def move(
    job: Id,
    first: Annotated[bool, typer.Option("--first", help="Before all others.")] = False,
    last: Annotated[bool, typer.Option("--last", help="After all others.")] = False,
    before: Annotated[str | None, typer.Option(help="Before this job.", show_default=False)] = None,
    after: Annotated[str | None, typer.Option(help="After this job.", show_default=False)] = None,
) -> None:
    """Put a waiting job in another place."""
    if sum((first, last, before is not None, after is not None)) != 1:
        raise BadInput("Say where to: --first, --last, --before JOB or --after JOB.")
    with _jobs() as jobs:
        id, other = _found(jobs, job), before or after
        where = "first" if first else "last" if last else "before" if before is not None else "after"
        found = jobs.queue.move(id, where, None if other is None else _found(jobs, other))  # type: ignore[arg-type]
        places = jobs.places(found)
    _print(found, places)


@queue.command()
@reporting
@fields.with_field_flags(GenerationRequest)
def edit(
    context: typer.Context,
    job: Id,
    preset: Annotated[str | None, typer.Option(help="A preset by name. Other flags override it.")] = None,
    frame: Annotated[
        str | None, typer.Option(help="With --image CLIP, which frame: first, last, its number from 0, or 1.5s.")
    ] = None,
    say: Annotated[str | None, typer.Option(help="What should move, in words. Other flags override it.")] = None,
    background: Annotated[str, typer.Option(help="Colour under transparent areas of the picture.")] = "#ffffff",
    **request_fields: Any,
) -> None:
    """Change the settings of a waiting job, by the flags of 'generate'. It keeps its place; what no flag names stays."""
    from .runner import Inputs, Runner, request_of

    named, remarks = fields.today(GenerationRequest, request_fields)
    given = fields.values(named)
    if not given and preset is None and say is None:
        raise BadInput("Say what to change: --motion-bucket-id 90, say.")
    with Runner(settings_or_exit(), context.obj) as runner:
        found = runner.jobs.get(_found(runner.jobs, job))
        picture = given.get("image")
        name = None if picture is None else Path(str(picture)).name
        inputs = Inputs(None, preset, None, background, given, None, frame, say, base=found.request)
        request, notes = request_of(runner, inputs)
        changed = runner.jobs.queue.edit(found.id, request, name=name)
    for note in [*remarks, *notes]:
        err().print(note, markup=False, soft_wrap=True)
    out().print(_line(changed), soft_wrap=True, markup=False)


@queue.command()
@reporting
def skip(job: Annotated[str | None, typer.Argument(help="The job. Default: the one that runs.")] = None) -> None:
    """Put a job at the end. One that runs stops, and continues when its turn comes."""
    with _jobs() as jobs:
        running = [one.id for one in jobs.queue.jobs() if one.position is None]
        if job is None and not running:
            raise BadInput("Nothing runs.")
        jobs.queue.skip(_found(jobs, job) if job is not None else running[0])
    out().print("Skipped.")


@queue.command()
@reporting
def cancel(
    job: Annotated[
        str | None, typer.Argument(help="The job: its id, or the beginning of it.", show_default=False)
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Only this tile of a draft wall, from 1, row by row.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that runs or waits.")] = False,
) -> None:
    """Cancel a job that runs or waits, one tile of a draft wall, or all jobs."""
    if everything != (job is None) or (everything and tile is not None):
        raise BadInput("Say which job to cancel, or --all.")
    with _jobs() as jobs:
        if job is None:
            jobs.queue.stop_all()
        elif tile is not None:
            jobs.queue.leave_out(_found(jobs, job), tile - 1)
        else:
            jobs.cancel(_found(jobs, job))
    out().print("Cancelled.")


@queue.command()
@reporting
def export(path: Annotated[Path, typer.Argument(help="The zip file to write.")]) -> None:
    """Write what waits, with its pictures, into a zip for 'python -m svd_ui run'."""
    from ..assets import Assets
    from ..jobs import bundle

    with _jobs() as jobs:
        found = [job for job in jobs.queue.jobs() if job.position is not None]
        bundle.write(path, found, Assets.of(jobs.settings))
    out().print(f"{len(found)} jobs are in {path}.", soft_wrap=True, markup=False)


def notes_of(dropped: tuple[str, ...]) -> list[str]:
    """What a job of another release lost."""
    from ..migration import left_out

    return [sentence(note) for note in left_out(dropped)]
