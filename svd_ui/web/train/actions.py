"""What happens on the Train tab: plain values in, plain values out. Work is done by a thread or by a run's own process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...engine import Device
from ...engine.estimates import CPU_SHARE, GPU_SHARE
from ...errors import BadInput, NotFound
from ...finetune import TrainRequest
from ...finetune.clip_sets import ClipSets
from ...finetune.estimate import Cost, Machine, estimate
from ...finetune.runs import TrainingRun, TrainingRuns
from ...loras import written
from ...validation import validated
from ..context import Context, uploaded
from ..controls import Controls
from . import views
from .scan_worker import Looker

FIELDS = Controls(TrainRequest.model_fields, "train")
MAX_FILES = 200
ENDINGS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".gif", ".webp", ".apng", ".avif")
COLLECTION = "my clips"
"""The name offered for the first clips."""


class TrainActions:
    """Handlers that need no component. Raise SvdUiError."""

    def __init__(self, context: Context) -> None:
        self.context, self.looker = context, Looker()
        self.runs, self.clips = TrainingRuns(context.settings), ClipSets(context.settings)

    # Clips

    def take(self, files: list[dict[str, Any]], collection: str) -> str:
        """Move uploads into a collection; returns what is to be said of those that are no clips. Raises BadInput where none is."""
        given = [uploaded(str(file.get("path"))) for file in files]
        paths = [path for path in given if path.suffix.lower() in ENDINGS]
        names = ", ".join(path.name for path in given if path not in paths)
        left = names and f"Skipped (clips are mp4, mov, webm, mkv, avi, gif, webp, apng or avif): {names}."
        if not paths:
            raise BadInput(left or "No file arrived: choose them again.", field="data")
        if len(paths) + self.clips.count(collection) > MAX_FILES:
            raise BadInput(
                f"{collection} would hold more than {MAX_FILES} files: add these under another name.", field="data"
            )
        self.clips.add(collection, paths)
        for path in paths:
            path.unlink(missing_ok=True)
        return left

    def look(self, collection: str, values: Mapping[str, Any]) -> None:
        """Begin to look through a collection, cut to what the form asks for."""
        request = self.request({**values, "name": values.get("name") or "look"}, collection)
        if not self.clips.count(collection):
            raise BadInput("Add clips first, or choose earlier ones.", field="data")
        self.looker.start(request)

    def looked(self, collection: str, values: Mapping[str, Any]) -> str:
        """What was found in a collection, found anew where clips have come or gone since.

        While the form is not valid nothing is said to be out of date.
        """
        try:
            request = self.request({**values, "name": "look"}, collection)
        except BadInput:
            return views.scan(self.looker.now, None)
        key = self.looker.follow(request)
        return views.scan(self.looker.now, key)

    def door(self, collection: str) -> str:
        """Where clips come in, with how many a collection holds by now."""
        count = self.clips.count(collection)
        return views.door(self.context.settings.max_upload_mb, collection, count, MAX_FILES, ENDINGS)

    # The form

    def bases(self) -> list[tuple[str, str]]:
        """(title, id) of the checkpoints here that can be trained further."""
        rows = self.context.rows().values()
        return [(row.title, row.id) for row in rows if row.facts.trainable and self.context.present(row)]

    def request(self, values: Mapping[str, Any], collection: str) -> TrainRequest:
        """The run the form describes, blanks filled. Raises BadInput naming the field."""
        given = {name: value for name, value in values.items() if name in FIELDS.fields and value not in (None, "")}
        if given.get("checkpoint") not in [id for _, id in self.bases()]:
            raise BadInput("Choose a checkpoint that is on this machine.", field="checkpoint")
        request = validated(TrainRequest, {**given, "data": self.clips.folder(collection)})
        return request.resolved(self.context.row(request.checkpoint))

    def cost(self, values: Mapping[str, Any], collection: str) -> Cost | None:
        """None while the form is not valid."""
        try:
            request = self.request({**values, "name": "cost"}, collection or COLLECTION)
        except BadInput:
            return None
        row = self.context.row(request.checkpoint)
        return estimate(request, row, self.context.hub.present(row), machine_of(self.context.device()))

    # Runs

    def start(self, values: Mapping[str, Any], collection: str) -> None:
        """Free the memory of the workers, then start the run that the form describes."""
        request = self.request(values, collection)
        if not self.clips.count(collection):
            raise BadInput("Add clips first, or choose earlier ones.", field="data")
        self._begin(request)

    def resume(self, name: str) -> None:
        request = self.runs.get(name).request
        if request is None:
            raise NotFound(what="training run")
        self._begin(request)

    def _begin(self, request: TrainRequest) -> None:
        self.context.jobs.release()
        self.runs.start(request)

    def result(self, run: TrainingRun) -> str:
        """What a finished run gave, as the Animate side knows it: a LoRA's name or a checkpoint's id; '' if not there."""
        made = run.status.result
        if run.status.state != "finished" or not made or run.request is None:
            return ""
        if run.request.method == "lora":
            known = self.context.loras().get(Path(made).stem)
            return known.name if known and not known.trouble else ""
        made_here = {self.context.settings.models_dir / made, self.context.settings.models_dir / made / "unet"}
        return next((row.id for row in self.context.rows().values() if row.path in made_here), "")

    def use(self, name: str) -> dict[str, str]:
        """The form's values that animate with a run's result."""
        self.context.look_again()
        run = self.runs.get(name)
        result = self.result(run)
        if not result or run.request is None:
            raise NotFound(what="result")
        if run.request.method == "lora":
            return {"checkpoint": run.request.checkpoint, "loras": written({result: 1})}
        return {"checkpoint": result, "loras": ""}

    def listed(self) -> str:
        """All runs, those that work now before the others."""
        runs = sorted(self.runs.all(), key=lambda run: not run.alive)
        return views.runs(runs, self.runs.folder, self.result)


def machine_of(device: Device | None) -> Machine:
    """What training has of the device; models reach a share of its measured rate, as they do when they animate."""
    if device is None:
        return Machine()
    share = CPU_SHARE if device.kind == "cpu" else GPU_SHARE
    reached = device.flops_per_second * share if device.flops_per_second else None
    return Machine(kind=device.kind, total_bytes=device.total_bytes, flops_per_second=reached)
