"""Fine-tuning on this machine's device: one run at a time, never beside a clip."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from ..catalog import CheckpointRow, find_checkpoint
from ..errors import BadInput, Cancelled
from ..finetune import TrainRequest
from ..finetune.runs import RunFolder, Status, Stopping
from ..hub import Hub
from ..settings import Settings
from . import CancelToken, device_lock
from .error_mapping import mapping


def train(request: TrainRequest, settings: Settings, cancel: CancelToken) -> Status:
    """Run ``request`` in this process until it ends; its folder tells how far it is. Raises an SvdUiError."""
    row = row_of(request, settings)
    base = Hub(settings).require(row)
    if not row.facts.trainable:
        raise BadInput(f"{row.title} is a few-step model and cannot be trained: choose SVD.", field="checkpoint")
    row.check_size(request.width, request.height)
    leads = os.environ.get("LOCAL_RANK", "0") == "0"  # of the processes that accelerate launched, one holds the device
    folder = RunFolder(settings.training_dir / request.name)
    stopping = Stopping(folder, cancel)
    waiting = Status(state="preparing", waits=True, step=folder.reached, steps=request.steps)
    if leads:
        folder.set_status(waiting.model_copy(update={"message": "Waiting for the device."}))
    try:
        with _device(settings, stopping) if leads else nullcontext(), mapping("training", row.title):
            from ..core.finetune import run

            return run(request.resolved(row), row, base, settings, stopping)
    except Cancelled:  # a run that has begun says itself how it ended
        stopped = waiting.model_copy(update={"state": "stopped", "message": "Stopped while waiting for the device."})
        folder.set_status(stopped)
        return stopped


def _device(settings: Settings, cancel: CancelToken) -> AbstractContextManager[None]:
    """The device as workers call it, whatever the settings do: only then does one wait for the other."""
    if cancel.is_set():  # no need to load torch to find out what is not wanted any more
        raise Cancelled()
    from ..core.devices import plan_for

    return device_lock(settings, plan_for(settings).info.id, cancel)


def row_of(request: TrainRequest, settings: Settings) -> CheckpointRow:
    """The checkpoint that is trained further. Raises BadInput for ``auto``: a result is tied to its base."""
    if request.checkpoint == "auto":
        raise BadInput("Choose the checkpoint to train: the result works with that one only.", field="checkpoint")
    return find_checkpoint(settings, request.checkpoint)
