"""What every command shares: where text goes, how errors leave the program, and progress on stderr."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Self, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from ..engine import CancelToken
from ..errors import BadInput, Cancelled, SvdUiError
from ..events import Downloading
from ..jobs import Job
from ..notes import WORDS, Note, sentence
from ..settings import Settings, usable

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
        except OSError as error:
            if error.filename is None:  # a pipe that nobody reads any more, say: click knows
                raise
            what = f"{error.filename} cannot be used ({error.strerror})"
            complain(
                BadInput(f"{what}: fix that, or set SVD_UI_DATA_DIR to another folder. 'doctor' looks at all of them.")
            )
            raise typer.Exit(BadInput.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(Cancelled.exit_code) from None

    return wrapped


def complain(error: SvdUiError) -> None:
    field = error.params.get("field")
    where = f" (--{str(field).replace('_', '-')})" if field else ""
    err().print(f"[bold red]svd-ui:[/] {escape(error.message)}{where}", soft_wrap=True)


def settings_or_exit(**overrides: Any) -> Settings:
    """Settings from the environment, with the command's own options over them; a bad value is said and ends."""
    settings, faults = usable(**{name: value for name, value in overrides.items() if value is not None})
    for variable, why in faults.items():
        err().print(f"[bold red]svd-ui:[/] {variable}: {escape(why)}", soft_wrap=True)
    if faults:
        raise typer.Exit(2)
    return settings


def interactive() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


STAGES: dict[str, str] = WORDS["stages of the command line"]


class JobBar:
    """A context manager; ``show`` may be called as often as the job changes. ``of`` is said before each stage: ``2 of 3``."""

    def __init__(self, quiet: bool = False, of: str = "") -> None:
        self._of = f"{of}  " if of else ""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
        )
        self._progress = Progress(*columns, console=err(), transient=True, disable=quiet)
        self._task: TaskID = self._progress.add_task(f"{self._of}Starting", total=None, steps="", eta="")
        self._said: set[Note] = set()

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(None, None, None)

    def show(self, job: Job) -> None:
        text = STAGES.get(job.state, job.state)
        if job.state == "queued" and job.position:
            text = f"Waiting, {job.position} before it"
        steps = f"{job.step}/{job.total}" if job.step is not None and job.total else ""
        eta = f"about {duration(job.eta_seconds)} left" if job.eta_seconds else ""
        self._progress.update(
            self._task,
            description=self._of + text,
            completed=job.step or 0,
            total=job.total or None,
            steps=steps,
            eta=eta,
        )
        for note in job.notes:
            if note not in self._said and not self._progress.disable:
                self._said.add(note)
                self._progress.console.print(sentence(note), markup=False, soft_wrap=True)


def downloading(fetch: Callable[[CancelToken], Iterator[Downloading]], title: str, quiet: bool = False) -> None:
    """Drain a download with a bar. Ctrl+C stops it; what has arrived is kept."""
    cancel = threading.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err(), disable=quiet) as progress:
        task = progress.add_task(title, total=None)
        try:
            for event in fetch(cancel):
                progress.update(task, completed=event.done_bytes, total=event.total_bytes)
        finally:
            cancel.set()


def duration(seconds: float) -> str:
    """``95`` -> ``1:35``."""
    whole = round(seconds)
    return (
        f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02}"
    )
