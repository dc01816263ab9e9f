"""``python -m svd_ui train``: fine-tune a checkpoint on clips. Start it with ``accelerate launch -m svd_ui train`` on several GPUs."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Cancelled
from ..finetune import TrainRequest, read_config
from ..finetune.folder import RunFolder, Status
from ..settings import Settings
from .console import err, out, reporting, settings_or_exit
from .fields import option_of

REPORT_SECONDS = 2.0


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """One option per field of ``TrainRequest``, all None unless given."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    fresh = [*own, *(option_of(name, info) for name, info in TrainRequest.model_fields.items())]
    command.__signature__ = signature.replace(parameters=fresh)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in fresh} | {"return": None}
    return command


@reporting
def _train(
    config: Annotated[Path | None, typer.Option(help="A TOML file with the same fields; options win over it.")] = None,
    **fields: Any,
) -> None:
    """Fine-tune a checkpoint on a folder of clips. Run it again with the same name to go on where it stopped."""
    from ..engine.finetune import train as work

    settings = settings_or_exit()
    if fields.get("name") is None and fields.get("out") is not None:
        fields["name"] = Path(fields["out"]).stem
    request = read_config(config, fields)
    with _Stopping() as stopping, _Telling(settings, request.name):
        status = work(request, settings, stopping)
    err().print(status.message)
    if status.state != "finished":
        raise typer.Exit(Cancelled.exit_code)
    out().print(status.result)


train = _with_flags(_train)


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
        err().print("Stopping after this step; the state is saved. Once more to end at once.")

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
