"""``python -m svd_ui generate``: one clip, made by a live server on the same data folder or right here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..catalog import trouble_of
from ..errors import Cancelled, Interrupted, SvdUiError, Unexpected, WeightsMissing, from_dict
from ..jobs import Job, status
from ..request import GenerationRequest
from . import fields, output
from .console import JobBar, downloading, err, out, reporting, settings_or_exit

if TYPE_CHECKING:
    from .runner import Runner

IN_FULL = "To render one at full quality: generate --from FILE --speed exact"


@reporting
@fields.with_field_flags(GenerationRequest)
def generate(
    context: typer.Context,
    picture: Annotated[
        Path | None,
        typer.Argument(help="The picture to animate, or a clip to take a frame from.", show_default=False),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File or folder to write. Default: ./<name>-<seed>.mp4, for a wall the folder ./<name>-<seed>-wall.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A preset by name. Other flags override it.", show_default=False)
    ] = None,
    settings_of: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A clip or JSON made here: reuse its settings, and its picture if you give none.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            help="Which frame of a clip: first, last, its number from 0, or its time as 1.5s. With --from alone: of that clip.",
            show_default=False,
        ),
    ] = None,
    say: Annotated[
        str | None,
        typer.Option(
            help="What should move, in words: 'slow push-in, hold the background'. Other flags override it.",
            show_default=False,
        ),
    ] = None,
    background: Annotated[str, typer.Option(help="Colour under transparent areas of the picture.")] = "#ffffff",
    download: Annotated[bool, typer.Option("--download", help="Download missing models.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, without progress.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    **request_fields: Any,
) -> None:
    """Animate a picture, or make one from --prompt and animate it. --wall makes small drafts to choose from.

    The clip is added to the history. Exit codes: 0 ok, 1 failed, 2 bad input, 3 weights missing,
    4 out of memory, 130 cancelled.
    """
    from .runner import Inputs, Runner, request_of

    settings, quiet = settings_or_exit(), quiet or as_json
    picture, target, settings_of = map(_at_home, (picture, target, settings_of))
    with Runner(settings, context.obj) as runner:
        named, remarks = fields.today(GenerationRequest, request_fields)
        given = fields.values(named)
        implied = None if given.get("wall") is not None else output.format_of(target)
        inputs = Inputs(picture, preset, settings_of, background, given, implied, frame, say)
        request, notes = request_of(runner, inputs)
        place = output.place(target, picture or settings_of, request)
        if not quiet:
            for note in [*remarks, *notes]:
                err().print(note, markup=False, soft_wrap=True)
        _have_weights(runner, request, download, quiet)
        with JobBar(quiet) as bar:
            job = runner.run(request, bar.show)
        finished = job.state == "finished"
        paths = output.deliver(runner.jobs, job, place) if finished else []
        if as_json:
            facts = {**status(job, runner.jobs.file), "output": paths}
            facts["notes"] = [*remarks, *notes, *facts["notes"]]
            typer.echo(json.dumps(facts, indent=2, default=str))
        else:
            for path in paths:
                out().print(str(path), markup=False, soft_wrap=True)
            if job.result is not None and job.result.tiles and not quiet:
                err().print(IN_FULL, markup=False, soft_wrap=True)
        if not finished:
            raise failure(job)


def _at_home(path: Path | None) -> Path | None:
    """``~`` where no shell says what it is: on Windows, and after ``--output=``."""
    return path and Path(os.path.expanduser(path))


def _have_weights(runner: Runner, request: GenerationRequest, download: bool, quiet: bool) -> None:
    """Say what is missing before anything starts, or fetch it. Raises WeightsMissing."""
    hub = runner.hub
    row = runner.row(request.checkpoint)
    if hub.present(row) is None:
        if not row.is_on_hub or trouble_of(row) is not None or (row.unet is not None and not download):
            hub.require(row)
        if not download:
            raise WeightsMissing(
                title=row.title, remedy=f"Add --download, or run 'python -m svd_ui models download {row.id}'."
            )
        if row.licence and not quiet:
            err().print(f"{row.title}: {row.licence} {row.licence_url}", markup=False, soft_wrap=True)
        downloading(lambda cancel: hub.fetch(row, cancel), row.title, quiet)
    if request.image is None and hub.text_to_image_path() is None:
        title = runner.settings.text_to_image
        if not download:
            remedy = "It makes the picture of a prompt: add --download, or run 'python -m svd_ui models download text-to-image'."
            raise WeightsMissing(title=title, remedy=remedy)
        downloading(hub.fetch_text_to_image, title, quiet)


def failure(job: Job) -> SvdUiError:
    """Why the job did not finish, as the exception whose exit code the program leaves with."""
    if job.state == "cancelled":
        return Cancelled()
    if job.error is not None:
        return from_dict(job.error)
    return Interrupted() if job.state == "interrupted" else Unexpected(detail=job.state)
