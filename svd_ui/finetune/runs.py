"""The runs of this machine: started in processes of their own, so that neither a closed page nor a restart ends them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from ..errors import BadInput, NotFound
from ..request import Frozen
from ..settings import Settings
from . import NAME, TrainRequest
from .folder import STARTING, RunFolder, Status

CLIPS = "clips"
_OWN = {"encoded", CLIPS}
START_SECONDS = 60.0


class Run(Frozen):
    """One run as its watchers see it. ``alive``: a process works on it now."""

    name: str
    status: Status
    alive: bool
    request: TrainRequest | None = None


class Runs:
    """Reads ``settings.training_dir`` and starts ``python -m svd_ui train``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.training_dir

    def all(self) -> list[Run]:
        """Newest first."""
        folders = [path for path in self._root.glob("*") if path.name not in _OWN and (path / "status.json").is_file()]
        runs = [run for path in folders if (run := self._read(path)) is not None]
        return sorted(runs, key=lambda run: run.status.updated, reverse=True)

    def get(self, name: str) -> Run:
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

    def start(self, request: TrainRequest) -> Run:
        """Begin, or go on with, the run ``request.name``. Raises BadInput where it is running already."""
        folder = self.folder(request.name)
        if (run := self._read(folder.root)) is not None and run.alive:
            raise BadInput(f"{request.name} is running already.", field="name")
        folder.begin()
        folder.write("start", request.model_dump(mode="json"))
        with (folder.root / "output.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "svd_ui", "train", "--config", str(folder.root / "start.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_environment(self._settings)},
                start_new_session=True,
            )
        status = Status(state="preparing", message=STARTING, steps=request.steps)
        told = status.model_copy(update={"pid": process.pid, "updated": time.time()})
        folder.write("status", told.model_dump(mode="json"))
        return self.get(request.name)

    def stop(self, name: str) -> None:
        """Ask a run to save and stop after its step. Raises NotFound."""
        self.get(name)
        self.folder(name).ask_to_stop()

    def delete(self, name: str) -> None:
        """Remove a run's folder; its result stays where it is. Raises BadInput while it runs."""
        if self.get(name).alive:
            raise BadInput(f"Stop {name} first.", field="name")
        shutil.rmtree(self.folder(name).root, ignore_errors=True)

    def add_clips(self, collection: str, files: Iterable[Path]) -> Path:
        """Copy uploaded ``files`` (checked by the caller to be uploads) into the clips called ``collection``."""
        folder = self.clips(collection)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            name = re.sub(r"[^\w.\- ]", "_", file.name)[-100:].lstrip(".") or "clip"
            shutil.copyfile(file, folder / name)
        return folder

    def clips(self, collection: str) -> Path:
        """Where the clips called ``collection`` lie. Raises BadInput for a name that is none."""
        if not re.fullmatch(NAME, collection):
            raise BadInput("Clips need a name of letters, digits, spaces, '.', '_' and '-'.", field="data")
        return self._root / CLIPS / collection

    def _read(self, path: Path) -> Run | None:
        folder = RunFolder(path)
        status = folder.status
        if status is None:
            return None
        alive = status.state in {"preparing", "training"} and _is_alive(status)
        if status.state in {"preparing", "training"} and not alive:
            text = f"Ended unexpectedly after {status.step} steps: start it again, it goes on from its last state."
            status = status.model_copy(update={"state": "stopped", "message": _last_words(path) or text})
        data = folder.read("request") or folder.read("start")
        try:
            request = TrainRequest.model_validate(data) if data else None
        except ValueError:  # of another release
            request = None
        return Run(name=path.name, status=status, alive=alive, request=request)


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
