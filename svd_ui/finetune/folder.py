"""What a fine-tuning run leaves on disk: its request, state, log and samples. Whoever looks reads these files.

request.json     the resolved TrainRequest
scan.json        the clips it trains on, what was left out, motion labels
status.json      where it stands (``Status``), replaced as a whole
log.jsonl        one line an update: step, loss, learning_rate, norm, seconds
samples/         step-000200.mp4 ...
state/           step-000200/ ...: what a stopped run goes on from, safetensors and numbers
tensorboard/     the same log for TensorBoard
stop             present while somebody asks the run to stop
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..media.atomic import write_bytes
from ..request import Frozen

WAITING = "Waiting for the device."
STARTING = "Starting."
State = Literal["preparing", "training", "finished", "stopped", "failed"]


class Status(Frozen):
    """Where a run stands. ``pid`` belongs to the process that works on it; ``result`` names the file or folder made."""

    state: State
    message: str = ""
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
        return self.state in {"preparing", "training"} and self.message not in {WAITING, STARTING}

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
        except (OSError, ValueError):
            return None

    @property
    def status(self) -> Status | None:
        data = self.read("status")
        return Status.model_validate(data) if isinstance(data, dict) else None

    def set_status(self, status: Status) -> None:
        told = status.model_copy(update={"pid": os.getpid(), "updated": time.time()})
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
            except ValueError:
                continue

    def ask_to_stop(self) -> None:
        (self.root / "stop").touch()

    @property
    def asked_to_stop(self) -> bool:
        return (self.root / "stop").exists()

    def begin(self) -> None:
        """Forget an earlier wish to stop."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "stop").unlink(missing_ok=True)
