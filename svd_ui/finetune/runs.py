"""The fine-tuning runs of this machine, and what each leaves on disk. Whoever looks reads these files.

A run is a process of its own, so that neither a closed page nor a restart ends it. Its folder holds:

request.json     the resolved TrainRequest and the version it was written by; start.json as it was asked for
scan.json        the clips it trains on, what was left out, motion labels
status.json      where it stands (``Status``), replaced as a whole
log.jsonl        one line an update: step, loss, learning_rate, norm, seconds
samples/         step-000200.mp4 ...
state/           step-000200/ ...: what a stopped run goes on from, safetensors and numbers
tensorboard/     the same log for TensorBoard

That somebody asks a run to stop is a row beside all folders (``stops``).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import ValidationError

from ..errors import BadInput, NotFound
from ..events import CancelToken
from ..media import write_bytes
from ..migration import migrate
from ..request import Frozen
from ..settings import Settings
from . import NAME, TrainRequest, read_stored, stored
from .clip_sets import CLIPS
from .stops import FILE, Stops

log = logging.getLogger(__name__)
_OWN = {"encoded", CLIPS, FILE}
State = Literal["preparing", "training", "finished", "stopped", "failed"]


class Status(Frozen):
    """Where a run stands. ``pid`` belongs to the process that works on it; ``result`` names the file or folder made.

    ``waits`` until the device is its own.
    """

    state: State
    message: str = ""
    waits: bool = False
    step: int = 0
    steps: int = 0
    loss: float | None = None
    seconds_per_step: float | None = None
    pid: int | None = None
    result: str = ""
    updated: float = 0.0

    @property
    def works(self) -> bool:
        """Whether a run that is alive has the device by now."""
        return self.state in {"preparing", "training"} and not self.waits

    @property
    def seconds_left(self) -> float | None:
        """From the pace of the last steps; None before the first."""
        if self.seconds_per_step is None or self.state != "training":
            return None
        return (self.steps - self.step) * self.seconds_per_step


class RunFolder:
    """Reads and writes one run's files; safe to read while a run writes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def started_with(self) -> Path:
        """The request as ``TrainingRuns.start`` hands it over."""
        return self.root / "start.json"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def states(self) -> Path:
        return self.root / "state"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    def write(self, name: str, data: Any) -> None:
        """``name``.json, replaced as a whole."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_bytes(self.root / f"{name}.json", json.dumps(data, indent=1).encode())

    def read(self, name: str) -> Any:
        """``name``.json, or None where it is absent or damaged."""
        try:
            return json.loads((self.root / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def request(self, name: str) -> TrainRequest | None:
        """The request in ``name``.json, of any release; None where there is none."""
        data = self.read(name)
        try:
            return read_stored(data)[0] if isinstance(data, dict) else None
        except BadInput as error:
            log.warning("%s of %s is no request: %s", name, self.root.name, error)
            return None

    @property
    def status(self) -> Status | None:
        data = self.read("status")
        if not isinstance(data, dict):
            return None
        try:
            return Status.model_validate(migrate(Status, data, None)[0])
        except ValidationError as error:
            log.warning("status of %s cannot be read: %s", self.root.name, error)
            return None

    def set_status(self, status: Status, pid: int | None = None) -> None:
        """``pid`` is the process that works on it, this one by default."""
        told = status.model_copy(update={"pid": pid or os.getpid(), "updated": time.time()})
        self.write("status", told.model_dump(mode="json"))

    def log(self, line: Mapping[str, float]) -> None:
        """Append one update."""
        with (self.root / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the log's lines after ``step``: a run that goes on from there writes them again."""
        path = self.root / "log.jsonl"
        if path.is_file():
            kept = [json.dumps(line) for line in self.lines() if line["step"] <= step]
            write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def lines(self) -> Iterator[dict[str, float]]:
        """The log, oldest first; a line broken by a crash is left out."""
        try:
            text = (self.root / "log.jsonl").read_text("utf-8")
        except OSError:
            return
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue

    @property
    def reached(self) -> int:
        """The step that an earlier process came to; 0 for a new run."""
        return status.step if (status := self.status) else 0

    def ask_to_stop(self) -> None:
        """Raises DiskFull."""
        self._stops.ask(self.root.name)

    @property
    def asked_to_stop(self) -> bool:
        return self._stops.asked(self.root.name)

    def begin(self) -> None:
        """Forget an earlier wish to stop. For whoever starts the process: a wish made since then must reach it."""
        self._stops.forget(self.root.name)

    @property
    def _stops(self) -> Stops:
        return Stops(self.root.parent)


class Stopping:
    """Set once ``cancel`` is, or somebody asks the run in ``folder`` to stop."""

    def __init__(self, folder: RunFolder, cancel: CancelToken) -> None:
        self._folder, self._cancel = folder, cancel

    def is_set(self) -> bool:
        return self._cancel.is_set() or self._folder.asked_to_stop


class TrainingRun(Frozen):
    """One run as its watchers see it. ``alive``: a process works on it now."""

    name: str
    status: Status
    alive: bool
    request: TrainRequest | None = None


class TrainingRuns:
    """Reads ``settings.training_dir`` and starts ``python -m svd_ui train``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.training_dir

    def all(self) -> list[TrainingRun]:
        """Newest first."""
        folders = [path for path in self._root.glob("*") if path.name not in _OWN and (path / "status.json").is_file()]
        runs = [run for path in folders if (run := self._read(path)) is not None]
        return sorted(runs, key=lambda run: run.status.updated, reverse=True)

    def get(self, name: str) -> TrainingRun:
        """Raises NotFound."""
        run = self._read(self.folder(name).root)
        if run is None:
            raise NotFound(what="training run")
        return run

    def folder(self, name: str) -> RunFolder:
        """The folder of a run; the name cannot leave the training folder. Raises NotFound for one that tries."""
        if not re.fullmatch(NAME, name) or name in _OWN:
            raise NotFound(what="training run")
        return RunFolder(self._root / name)

    def start(self, request: TrainRequest) -> TrainingRun:
        """Begin, or go on with, the run ``request.name``. Raises BadInput where it is running already."""
        folder = self.folder(request.name)
        if (run := self._read(folder.root)) is not None and run.alive:
            raise BadInput(f"{request.name} is running already.", field="name")
        folder.begin()
        folder.write("start", stored(request))
        with (folder.root / "output.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "svd_ui", "train", "--config", str(folder.started_with)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_environment(self._settings)},
                start_new_session=True,
            )
        status = Status(state="preparing", message="Starting.", waits=True, step=folder.reached, steps=request.steps)
        folder.set_status(status, process.pid)
        return self.get(request.name)

    def stop(self, name: str) -> None:
        """Ask a run to save and stop: after its step, or at once while it waits. Raises NotFound."""
        self.get(name)
        self.folder(name).ask_to_stop()

    def delete(self, name: str) -> None:
        """Remove a run's folder; its result stays where it is. Raises BadInput while it runs."""
        if self.get(name).alive:
            raise BadInput(f"Stop {name} first.", field="name")
        folder = self.folder(name)
        shutil.rmtree(folder.root, ignore_errors=True)
        folder.begin()

    def _read(self, path: Path) -> TrainingRun | None:
        folder = RunFolder(path)
        status = folder.status
        if status is None:
            return None
        alive = status.state in {"preparing", "training"} and _is_alive(status)
        if status.state in {"preparing", "training"} and not alive:
            text = f"Ended unexpectedly after {status.step} steps. Resume to continue from the last save."
            status = status.model_copy(update={"state": "stopped", "message": _last_words(path) or text})
        request = folder.request("request") or folder.request("start")
        return TrainingRun(name=path.name, status=status, alive=alive, request=request)


def _is_alive(status: Status) -> bool:
    """Whether the process that wrote ``status`` still runs; its number may have gone to another program since."""
    try:
        process = psutil.Process(status.pid or -1)
        return bool(process.create_time() <= status.updated + 1 and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, ValueError):
        return False


def _last_words(path: Path) -> str:
    """The error a run ended with, from what it printed."""
    try:
        lines = (path / "output.log").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = [line.removeprefix("svd-ui:").strip() for line in lines if line.startswith("svd-ui:")]
    return said[-1] if said else ""


def _environment(settings: Settings) -> dict[str, str]:
    """What the new process must know of these settings."""
    names = ("data_dir", "checkpoint_dirs", "devices")
    return {f"SVD_UI_{name.upper()}": str(getattr(settings, name)) for name in names if getattr(settings, name)}
