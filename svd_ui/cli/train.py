"""``python -m svd_ui train``: fine-tune a checkpoint on clips. Start it with ``accelerate launch -m svd_ui train`` on several GPUs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Cancelled
from ..finetune import TrainRequest, read_config
from ..finetune.runs import RunFolder, Status
from ..migration import left_out
from ..notes import sentence
from ..settings import Settings
from .console import err, out, reporting, settings_or_exit
from .fields import today, with_field_flags

REPORT_SECONDS = 2.0


@reporting
@with_field_flags(TrainRequest)
def train(
    config: Annotated[Path | None, typer.Option(help="A TOML file with the same fields. Options override it.")] = None,
    **fields: Any,
) -> None:
    """Fine-tune a checkpoint on a folder of clips. Run it again with the same name to resume."""
    from ..engine.finetune import train as work

    settings = settings_or_exit()
    given, remarks = today(TrainRequest, fields)
    if "name" not in given and "out" in given:
        given["name"] = Path(given["out"]).stem
    request, dropped = read_config(config, given)
    for remark in [*remarks, *map(sentence, left_out(dropped))]:
        err().print(remark, markup=False, soft_wrap=True)
    folder = RunFolder(settings.training_dir / request.name)
    if config is None or config.resolve() != folder.started_with.resolve():
        folder.begin()  # where the page starts a run, it has done so: a stop that is there now is meant
    with _Stopping() as stopping, _Telling(settings, request.name):
        status = work(request, settings, stopping)
    err().print(status.message)
    if status.state != "finished":
        raise typer.Exit(Cancelled.exit_code)
    out().print(status.result)


class _Stopping:
    """Ctrl+C and SIGTERM ask the run to save and stop; a second Ctrl+C ends it at once."""

    def __enter__(self) -> _Stopping:
        self._event = threading.Event()
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()
        err().print("Stopping after this step. Progress is saved. Press Ctrl+C again to quit at once.")

    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises Cancelled when asked to stop."""
        if self.is_set():
            raise Cancelled()


class _Telling(threading.Thread):
    """Repeats on stderr what the run's folder says, whenever it changes."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(daemon=True)
        self._folder, self._done = RunFolder(settings.training_dir / name), threading.Event()

    def __enter__(self) -> _Telling:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        last = ""
        while not self._done.wait(REPORT_SECONDS):
            status = self._folder.status
            line = _line(status) if status else ""
            if line and line != last:
                err().print(line)
                last = line


def _line(status: Status) -> str:
    if status.state != "training" or status.loss is None:
        return status.message
    left = status.seconds_left
    rest = f", {left / 60:.0f} min left" if left is not None else ""
    return f"step {status.step} of {status.steps}, loss {status.loss:.4f}{rest}"
