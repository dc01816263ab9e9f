"""``python -m svd_ui run queue.zip``: the jobs of an exported queue, one after the other, without a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadInput, Cancelled, SvdUiError
from . import output
from .console import JobBar, complain, err, out, reporting, settings_or_exit
from .generate import failure
from .queue import notes_of

if TYPE_CHECKING:
    from ..jobs.bundle import Entry
    from .runner import Runner


@reporting
def run(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A zip that 'queue export' wrote.")],
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write the clips to. Default: this one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, make nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, without progress.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make the clips of an exported queue. One that fails does not stop the others; the exit code is the first's."""
    from ..jobs import bundle
    from .runner import Runner

    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    settings, folder = settings_or_exit(), target or Path()
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder that exists.")
    results: list[dict[str, Any]] = []
    first: SvdUiError | None = None
    with Runner(settings, context.obj) as runner:
        entries = bundle.read(path, settings)
        for number, entry in enumerate(entries, 1):
            told: dict[str, Any] = {"number": number, "kind": entry.kind, "notes": notes_of(entry.dropped)}
            try:
                told |= _checked(runner, entry)
                if not dry_run:
                    told |= _made(runner, entry, folder, quiet or as_json, f"{number} of {len(entries)}")
            except Cancelled:  # Ctrl+C means all of it
                raise
            except SvdUiError as error:
                first, told["error"] = first or error, error.to_dict()
                if not as_json:
                    complain(error)
            results.append(told)
            if not as_json:
                _say(told, len(entries))
    if as_json:
        typer.echo(json.dumps(results, indent=2, default=str))
    if first is not None:
        raise typer.Exit(first.exit_code)


def _checked(runner: Runner, entry: Entry) -> dict[str, Any]:
    """What the job would be; as the queue checks it. Raises an SvdUiError."""
    from ..clip import ClipSpec
    from ..jobs.intake import checked

    request = checked(runner.settings, entry.request, entry.kind)
    row = runner.row(request.checkpoint)
    runner.hub.require(row)
    clip = ClipSpec.of(request, row)
    row.check(clip)
    shape = clip.final_shape
    seconds = runner.jobs.estimate(request).seconds
    about = {"checkpoint": row.id, "width": shape.width, "height": shape.height, "frames": shape.num_frames}
    return {**about, "steps": clip.num_inference_steps, "seed": request.seed, "seconds": seconds}


def _made(runner: Runner, entry: Entry, folder: Path, quiet: bool, of: str) -> dict[str, Any]:
    """Make it and put it into ``folder``. Raises what it failed with."""
    request = entry.request.with_seed()
    place = output.place(folder, Path(entry.name) if entry.name else None, request)
    with JobBar(quiet, of) as bar:
        job = runner.run(request, bar.show, entry.kind)
    if job.state != "finished":
        raise failure(job)
    return {"id": job.id, "output": output.deliver(runner.jobs, job, place)}


def _say(told: dict[str, Any], count: int) -> None:
    for note in told["notes"]:
        err().print(note, markup=False, soft_wrap=True)
    if "error" in told:
        return
    for path in told.get("output", ()):
        out().print(str(path), markup=False, soft_wrap=True)
    if "output" not in told:
        about = "{checkpoint}, {width}x{height}, {frames} frames, {steps} steps, seed {seed}".format_map(told)
        out().print(f"{told['number']} of {count}: {about}", markup=False, soft_wrap=True)
