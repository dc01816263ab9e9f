"""Progress on stderr: a job's stages and steps, or the bytes of a download."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Self

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
from ..events import Downloading
from ..jobs import Job
from ..notes import Note
from ..sentences import sentence
from .console import err

STAGES = {
    "queued": "Waiting",
    "downloading": "Downloading the weights",
    "loading": "Loading the model",
    "making_still": "Making the first frame",
    "conditioning": "Looking at the still",
    "denoising": "Animating",
    "decoding": "Decoding frames",
    "post_processing": "Finishing touches",
    "writing": "Writing the clip",
}


class JobBar:
    """A context manager; ``show`` may be called as often as the job changes."""

    def __init__(self, quiet: bool = False) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
        )
        self._progress = Progress(*columns, console=err(), transient=True, disable=quiet)
        self._task: TaskID = self._progress.add_task("Starting", total=None, steps="", eta="")
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
            self._task, description=text, completed=job.step or 0, total=job.total or None, steps=steps, eta=eta
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
