"""One clip of the command line: what the flags ask for, and where it is made.

That is by a live server on the same data folder, else by a worker of our own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from .. import presets
from ..assets import Assets
from ..catalog import CheckpointRow, checkpoints
from ..clip import in_shape_of
from ..engine import Device, Engine
from ..errors import BadInput, BadPicture, Interrupted, NotFound
from ..events import ENDED
from ..hub import Hub
from ..hub.selection import Checkpoints
from ..jobs import Job, JobKind
from ..jobs.compose import devices
from ..jobs.service import JobService, server_alive
from ..loras import named, names
from ..media.footage import Moment
from ..migration import left_out
from ..notes import sentence
from ..pictures import Place, missing, taken
from ..request import FOCUS, GenerationRequest, has_source
from ..settings import Settings
from ..settings_tag import open_settings
from ..steering import words
from .fields import picture_flag

OWNER = "cli"
EngineFactory = Callable[[Settings], Engine]
_POLL = 0.2
_SERVER_POLL = 5.0
_DEVICE_SECONDS = 60.0


def own_worker(settings: Settings) -> Engine:
    """One supervised worker on the first of ``SVD_UI_DEVICES``; it holds the lock of its device while it works."""
    from ..engine.worker import WorkerEngine

    return WorkerEngine(settings, devices(settings)[0])


class Runner:
    """A context manager around the job service. ``factory`` makes the engine when no server is running."""

    def __init__(self, settings: Settings, factory: EngineFactory | None = None) -> None:
        self.settings = settings
        self.hub = Hub(settings)
        self.served = server_alive(settings)
        self._engine = None if self.served else (factory or own_worker)(settings)
        self.jobs = JobService(settings, self._engine or (), slots=False, role="reader" if self.served else "cli")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.jobs.close()

    def row(self, id: str) -> CheckpointRow:
        """The row a request's checkpoint means; the device is asked only where the answer depends on it."""
        checkpoints = Checkpoints(self.settings, self.hub)
        on_cpu = checkpoints.resolve(id, None)
        if checkpoints.resolve(id, Device(kind="cuda", name="any")) == on_cpu:
            return on_cpu
        return checkpoints.resolve(id, self._device)

    @cached_property
    def _device(self) -> Device | None:
        """The device, waited for while the worker starts."""
        if self._engine is not None and self.jobs.describe() is None:
            getattr(self._engine, "start", lambda: None)()
        end = time.monotonic() + _DEVICE_SECONDS
        while (device := self.jobs.describe()) is None and time.monotonic() < end:
            time.sleep(_POLL)
        return device

    def run(self, request: GenerationRequest, show: Callable[[Job], None], kind: JobKind = "clip") -> Job:
        """Make the clip and return the ended job; Ctrl+C cancels it. ``show`` hears of every change."""
        return self._run_there(request, show, kind) if self.served else self._run_here(request, show, kind)

    def _run_here(self, request: GenerationRequest, show: Callable[[Job], None], kind: JobKind) -> Job:
        job: Job | None = None
        changes = self.jobs.run_inline(request, OWNER, kind)
        try:
            for job in changes:
                show(job)
        except KeyboardInterrupt:
            if job is None:
                raise
            if isinstance(changes, Generator):
                changes.close()  # cancels the job
        assert job is not None, "a job is told at least once"
        return self.jobs.get(job.id)

    def _run_there(self, request: GenerationRequest, show: Callable[[Job], None], kind: JobKind) -> Job:
        job = self.jobs.submit(request, OWNER, kind)
        looked = time.monotonic()
        try:
            while job.state not in ENDED:
                show(job)
                if time.monotonic() - looked > _SERVER_POLL:
                    looked = time.monotonic()
                    if not server_alive(self.settings):
                        self.jobs.cancel(job.id)
                        raise Interrupted()
                job = self.jobs.wait(job.id, _POLL)
        except KeyboardInterrupt:
            self.jobs.cancel(job.id)
            job = self.jobs.wait(job.id, 10)
            return job if job.state in ENDED else job.model_copy(update={"state": "cancelled"})
        return job


@dataclass(frozen=True)
class Inputs:
    """``explicit`` holds the request fields given as flags; ``image`` may still be a path there. ``base`` is the request of
    a job that is changed.
    """

    picture: Path | None
    preset: str | None
    settings_of: Path | None
    background: str
    explicit: dict[str, Any]
    output_format: str | None
    frame: str | None = None
    say: str | None = None
    base: GenerationRequest | None = None


def request_of(runner: Runner, inputs: Inputs) -> tuple[GenerationRequest, list[str]]:
    """The request, its seed fixed, and remarks for the person. Raises BadInput; pictures become assets."""
    base, notes = _stored(runner, inputs.settings_of) if inputs.settings_of else (_explicit(inputs.base), [])
    explicit = dict(inputs.explicit)
    if "loras" in explicit:
        explicit["loras"] = _loras(runner.settings, explicit["loras"])
    still, remarks = _still(runner.settings, inputs, explicit)
    if still not in (None, base.get("image")):  # where a crop was put belongs to its picture
        base = {name: value for name, value in base.items() if name not in FOCUS}
    if inputs.preset is not None:
        base |= _preset(runner, inputs.preset, explicit, base)
    if inputs.say is not None:
        spoken, said = _spoken(inputs.say, explicit)
        base, notes = _over(base, spoken), [*notes, *said]
    if inputs.output_format is not None:
        base["output_format"] = inputs.output_format
    if still is not None:
        explicit["image"] = still
        base.pop("prompt", None)
    elif "prompt" in explicit:
        base.pop("image", None)
    explicit, more = _pictures(runner.settings, inputs.background, explicit)
    request = presets.validate(_over(base, explicit))
    _all_here(runner.settings, request)
    if not has_source(request):
        if request.image is not None:
            raise BadInput("Give a picture or --prompt, not both.")
        frame = " --frame first takes the first frame of that clip." if inputs.settings_of else ""
        raise BadInput(" ".join([*notes, f"Give a picture, or --prompt to make one.{frame}"]))
    return _shaped(runner, request).with_seed(), [*notes, *remarks, *more]


def _explicit(request: GenerationRequest | None) -> dict[str, Any]:
    return {} if request is None else request.explicit()


def _spoken(text: str, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that words set, for the method that flags chose if they did, and a line for each thing that was understood
    or not. Raises BadInput.
    """
    method = given.get("method", {})
    try:
        recipe = words.recipe(text, kind=str(method.get("kind", "")))
    except ValueError as error:
        raise BadInput(f"--say: {error}.", field="say") from error
    chips = [f"{chip.text} (“{chip.source}”)" for chip in recipe.chips]
    if any(chip.wants == "picture" for chip in recipe.chips) and not method.get("image"):
        raise BadInput(
            "--say: give the picture that the clip ends on: --end-frame FILE.", field="method.end_frame.image"
        )
    return recipe.values, [*chips, *map(str, recipe.unknown)]


def _over(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """``base`` where ``given`` says nothing; parameters of the same method are joined too."""
    under, over = base.get("method"), given.get("method")
    joined = {**base, **given}
    if isinstance(under, dict) and isinstance(over, dict) and under.get("kind") == over.get("kind"):
        joined["method"] = {**under, **over}
    return joined


def _pictures(settings: Settings, background: str, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """``values`` with the files that methods and steps name as assets, and what is said of them. Raises BadInput."""
    notes: list[str] = []

    def take(place: Place, given: Any) -> str:
        flag = picture_flag(place.kind, place.name)
        path = Path(os.path.expanduser(str(given)))
        if not os.path.isfile(path):
            what = "is a folder: give one picture" if os.path.isdir(path) else "is not there"
            raise BadInput(f"{flag}: {path} {what}.", field=place.field)
        try:
            added = Assets.of(settings).add(path, background)
        except BadInput as error:
            raise BadPicture(f"{flag}: {error.message}", field=place.field) from error
        notes.extend(f"{flag}: {sentence(note)}" for note in added.notes)
        return added.ref

    return taken(values, take), notes


def _all_here(settings: Settings, request: GenerationRequest) -> None:
    """Raises BadInput that says how to give a picture of the method or a step that is not in this data folder."""
    for place in missing(Assets.of(settings), request):
        if place.kind:
            flag = picture_flag(place.kind, place.name)
            raise BadInput(
                f"{place.title}: that picture is not in this data folder. Give it again with {flag}.", place.field
            )


def _shaped(runner: Runner, request: GenerationRequest) -> GenerationRequest:
    """In the shape of its picture, where no size is given."""
    size = None if request.image is None else Assets.of(runner.settings).size(request.image)
    return in_shape_of(size, request, runner.row(request.checkpoint)) if size else request


def _loras(settings: Settings, given: Iterable[Any]) -> list[Any]:
    """LoRAs as they were typed, ``slow pans:0.8`` or ``slow pans=0.8``; an entry of JSON as it is."""
    known, found = names(settings), list[Any]()
    for one in given:
        pairs = named([one], known) if isinstance(one, str) else ()
        found += [{"name": name, "weight": weight} for name, weight in pairs] or [one]
    return found


def _stored(runner: Runner, path: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings in a file, without what its checkpoint sets itself: another one, or a speed, may be given beside it.

    Its still is used if this data folder has it, else its prompt.
    """
    found, settings = open_settings(path), runner.settings
    row = checkpoints(settings).get(found.request.checkpoint)
    request = found.request.unresolved(row.defaults(found.request.speed)) if row else found.request
    values = request.model_dump(mode="json", exclude_none=True)
    notes = [sentence(note) for note in left_out(found.dropped)]
    if "image" in values:
        try:
            Assets.of(settings).path(values["image"])
            values.pop("prompt", None)
        except (NotFound, BadPicture):
            values.pop("image")
            if "prompt" not in values:
                notes.append("The picture of that clip is not in this data folder.")
    return values, notes


def _preset(runner: Runner, id: str, explicit: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The preset's values for the checkpoint in use, and its aspect as a size of it, unless a size was given."""
    preset = presets.preset_of(id)
    row = runner.row(explicit.get("checkpoint") or preset.values.get("checkpoint") or base.get("checkpoint") or "auto")
    size = {} if {"width", "height"} & explicit.keys() else presets.size_values(preset, row)
    return {**preset.of(row).values, **size}


def _still(settings: Settings, inputs: Inputs, explicit: dict[str, Any]) -> tuple[str | None, list[str]]:
    """The asset of the picture given, as an argument or as --image, which also takes an asset's name."""
    flagged = explicit.pop("image", None)
    if inputs.picture is not None and flagged is not None:
        raise BadInput("The picture is given twice: give it once.", field="image")
    moment = None if inputs.frame is None else Moment.of(inputs.frame)
    source = str(inputs.picture or flagged or (inputs.settings_of if moment else None) or "")
    if not source or source.startswith("sha256:"):
        if moment:
            raise BadInput("Give the clip to take the frame from.", field="frame")
        return source or None, []
    if not Path(source).is_file():
        is_folder = Path(source).is_dir()
        wrong = f"{source} is a folder: give one picture or clip." if is_folder else f"There is no file {source}."
        raise BadInput(wrong, field="image")
    added = Assets.of(settings).add(Path(source), inputs.background, moment)
    return added.ref, list(map(sentence, added.notes))
