"""Fine-tuning a checkpoint on clips: one run from request to result, watched through its folder.

What is trained is what is sampled: preconditioning, conditioning and autoencoder are the core's own.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ... import clips
from ...catalog import PROFILES, CheckpointRow
from ...errors import BadInput, Cancelled
from ...events import CancelToken
from ...finetune import TrainRequest, stored
from ...finetune.runs import RunFolder, Status
from ...settings import Settings
from ..devices import Plan, plan_for
from ..runtime import Runtime
from . import weights
from .dataset import Dataset
from .tuner import Tuner
from .validation_sampler import ValidationSampler

__all__ = ["run"]

_FREE = {"steps", "sample_every", "save_every", "out", "licence", "note", "data", "learning_rate"}
"""What may change when a stopped run goes on."""


def run(request: TrainRequest, row: CheckpointRow, base: Path, settings: Settings, cancel: CancelToken) -> Status:
    """Train ``row``'s checkpoint, whose weights are in ``base``, and write the result. Returns how it ended.

    ``request`` is resolved. Goes on where an earlier run of that name stopped. Stops with its state saved when
    ``cancel`` is set. Raises BadInput naming the field at fault, and what torch raises.
    """
    folder = RunFolder(settings.training_dir / request.name)
    _same_run(request, row, folder)
    session = Session(request, row, base, settings, folder, cancel)
    try:
        return session.run()
    except Cancelled:
        return session.tell("stopped", "Stopped before training began.")
    except BadInput as error:
        session.tell("failed", error.message)
        raise
    except torch.OutOfMemoryError:
        remedy = "Use smaller or fewer frames, a lower rank, or turn on Save memory."
        session.tell("failed", f"The device ran out of memory. {remedy}")
        raise


class Session:
    """One process of one run, from clips to result."""

    def __init__(
        self,
        request: TrainRequest,
        row: CheckpointRow,
        base: Path,
        settings: Settings,
        folder: RunFolder,
        cancel: CancelToken,
    ) -> None:
        self.request, self.row, self.base, self.folder = request, row, base, folder
        self._settings, self._cancel = settings, cancel
        self._plan = plan_for(settings)
        self._accelerator = _accelerator(request, self._plan)
        self._tuner: Tuner | None = None
        self._pace: float | None = None

    def run(self) -> Status:
        self.tell("preparing", "Checking the clips.")
        self.folder.write("request", stored(self.request))
        found = self._scan()
        runtime = Runtime(self.row, self.base, self._training_plan())
        examples = self._examples(found, runtime)
        if self._stop():
            raise Cancelled()
        tuner = self._tuner = Tuner(self.request, runtime, examples, self.folder, self._accelerator)
        sampler = ValidationSampler.of(runtime, examples.still(0), self.request.num_frames or 2, self.request.seed)
        with _Board(self.folder.tensorboard, tuner.main) as board:
            tuner.run(self._stop, lambda line: self._after(line, sampler, board))
        if tuner.step < self.request.steps:
            return self.tell("stopped", f"Stopped after {tuner.step} steps. Resume to continue from there.")
        self._accelerator.wait_for_everyone()
        written = self._write_result(tuner, runtime, found) if tuner.main else Path()
        return self.tell("finished", "Finished.", result=written.name)

    def tell(self, state: Any, message: str, **more: Any) -> Status:
        """Write where the run stands (by the main process) and return it."""
        tuner = self._tuner
        status = Status(
            state=state, message=message, step=tuner.step if tuner else 0, steps=self.request.steps,
            seconds_per_step=self._pace, **more,
        )  # fmt: skip
        if self._accelerator.is_main_process:
            self.folder.set_status(status)
        return status

    def _scan(self) -> clips.Scan:
        request = self.request
        assert request.width is not None
        assert request.height is not None
        assert request.num_frames is not None
        found = clips.scan(
            request.data, width=request.width, height=request.height, num_frames=request.num_frames,
            fps=request.fps, static_below=request.static_below,
            progress=self._checking,
        )  # fmt: skip
        if self._accelerator.is_main_process:
            self.folder.write("scan", found.model_dump(mode="json"))
        return found

    def _checking(self, name: str) -> None:
        """Raises Cancelled, in the only process: of several, one that leaves alone would keep the others waiting."""
        if self._accelerator.num_processes == 1 and self._stop():
            raise Cancelled()
        self.tell("preparing", f"Checking {name}.")

    def _examples(self, found: clips.Scan, runtime: Runtime) -> Dataset:
        """Encoded by the main process, read by all."""
        size = (self.request.width or 0, self.request.height or 0)
        examples = Dataset(
            self._settings.training_dir / "encoded", found.stretches, size, self.base, runtime.scaling_factor
        )
        total = len(examples)
        if self._accelerator.is_main_process:
            examples.build(
                runtime, lambda done: self.tell("preparing", f"Encoding clips: {done} of {total}."), self._stop
            )
        self._accelerator.wait_for_everyone()
        return examples

    def _after(self, line: dict[str, float], sampler: ValidationSampler, board: _Board) -> None:
        """After each update: pace, status, TensorBoard, now and then a sample."""
        step, tuner = int(line["step"]), self._tuner
        self._pace = line["seconds"] if self._pace is None else 0.9 * self._pace + 0.1 * line["seconds"]
        self.tell("training", "Training.", loss=line["loss"])
        if tuner is None or not tuner.main:
            return
        board.add(line)
        if self.request.sample_every and (step % self.request.sample_every == 0 or step == self.request.steps):
            tuner.runtime.unet.eval()
            # A stop leaves out the sample it fell into, not what was trained.
            with self._accelerator.autocast(), suppress(Cancelled):
                sampler.write(self.folder.samples / f"step-{step:06d}.mp4", self._cancel)
            tuner.runtime.unet.train()

    def _write_result(self, tuner: Tuner, runtime: Runtime, found: clips.Scan) -> Path:
        request = self.request
        about = {
            "title": request.name,
            "base": self.row.id,
            "licence": request.licence,
            "note": request.note or f"Trained on {len(found.stretches)} clips for {tuner.step} steps.",
        }
        home = self._settings.models_dir / ("loras" if request.method == "lora" else "")
        path = request.out or home / request.name
        return weights.save(path, runtime.unet, tuner.weights, request, self.base, self.row, about)

    def _training_plan(self) -> Plan:
        """Everything resident and stock layers, whose gradients are known; a LoRA's frozen base in half precision."""
        whole = self.request.method != "lora" or self._plan.device.type != "cuda"
        profile = PROFILES["cpu"] if self._plan.device.type == "cpu" else PROFILES["24gb"]
        dtype = torch.float32 if whole else torch.float16
        return replace(self._plan, profile=profile, dtype=dtype, exact=False, compile=False, attention="sdpa")

    def _stop(self) -> bool:
        return self._cancel.is_set()


class _Board:
    """TensorBoard's log of the main process."""

    def __init__(self, folder: Path, writes: bool) -> None:
        self._folder, self._writes = folder, writes

    def __enter__(self) -> _Board:
        if self._writes:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        return self

    def __exit__(self, *error: object) -> None:
        if self._writes:
            self._writer.close()

    def add(self, line: dict[str, float]) -> None:
        for name in ("loss", "learning_rate", "norm"):
            self._writer.add_scalar(name, line[name], int(line["step"]))


def _accelerator(request: TrainRequest, plan: Plan) -> Any:
    """accelerate's view of this process, in the number format that ``request`` or the device asks for."""
    from accelerate import Accelerator

    precision: str = request.precision
    if precision == "auto":
        good = plan.device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16" if good else "fp16" if plan.device.type == "cuda" else "no"
    if precision == "fp16" and plan.device.type == "cpu":
        raise BadInput("A CPU cannot train in fp16: choose bf16 or no.", field="precision")
    return Accelerator(mixed_precision=precision, cpu=plan.device.type == "cpu")


def _same_run(request: TrainRequest, row: CheckpointRow, folder: RunFolder) -> None:
    """A stopped run goes on only as what it was."""
    before = folder.request("request")
    if weights.latest(folder.states) is None or before is None:
        return
    then, now = before.resolved(row), request.resolved(row)
    changed = [
        name for name in TrainRequest.model_fields if name not in _FREE and getattr(then, name) != getattr(now, name)
    ]
    if changed:
        title = TrainRequest.model_fields[changed[0]].title
        raise BadInput(
            f"A run called {request.name} exists with another {title}: choose another name, or delete that run first.",
            field=changed[0],
        )
