"""Fine-tuning on this machine's device: one run at a time, never beside a clip."""

from __future__ import annotations

import os
from contextlib import nullcontext

from ..catalog import CheckpointRow, find_checkpoint
from ..errors import BadInput
from ..finetune import TrainRequest
from ..finetune.runs import RunFolder, Status
from ..hub import Hub
from ..settings import Settings
from . import CancelToken, device_lock
from .error_mapping import mapping


def train(request: TrainRequest, settings: Settings, cancel: CancelToken) -> Status:
    """Run ``request`` in this process until it ends; its folder tells how far it is. Raises an SvdUiError."""
    row = row_of(request, settings)
    base = Hub(settings).require(row)
    if not row.facts.trainable:
        raise BadInput(
            f"{row.title} is a few-step model and cannot be trained further: choose SVD.", field="checkpoint"
        )
    row.check_size(request.width, request.height)
    leads = os.environ.get("LOCAL_RANK", "0") == "0"  # of the processes that accelerate launched, one holds the device
    if leads:
        folder = RunFolder(settings.training_dir / request.name)
        folder.begin()
        told = "Waiting for the device."
        folder.set_status(Status(state="preparing", message=told, waits=True, steps=request.steps))
    from ..core.devices import plan_for

    # The device as workers call it, whatever the settings do: only then does one wait for the other.
    alone = device_lock(settings, plan_for(settings).info.id, cancel) if leads else nullcontext()
    with alone, mapping("training", row.title):
        from ..core.finetune import run

        return run(request.resolved(row), row, base, settings, cancel)


def row_of(request: TrainRequest, settings: Settings) -> CheckpointRow:
    """The checkpoint that is trained further. Raises BadInput for ``auto``: a result is tied to its base."""
    if request.checkpoint == "auto":
        raise BadInput("Name the checkpoint to train: the result works with that one only.", field="checkpoint")
    return find_checkpoint(settings, request.checkpoint)
