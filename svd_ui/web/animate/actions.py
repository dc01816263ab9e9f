"""What happens on the page: handlers over ``Jobs``. None waits for work; a job is started and then watched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ...catalog import CheckpointRow
from ...errors import BadInput, NotFound, SvdUiError
from ...events import ENDED
from ...jobs import Job
from ...jobs.status import in_full
from ...request import GenerationRequest
from ..context import Context, uploaded
from ..visitor import reader, visitor
from . import history, wall
from . import stage as stages
from .form import PICTURE, Form, all_requests, request_of, wall_request
from .stills import PERHAPS_SETTINGS, SETTINGS_FILES, Still, Stills, add, current, of_ref, take

log = logging.getLogger(__name__)


@dataclass
class View:
    """What the right side and the history show; the timer runs while anything in it is unfinished."""

    stage: str
    history: str
    active: bool
    signature: str


class Actions:
    """Handlers that need no component: each takes plain values and gives plain values back."""

    def __init__(self, context: Context, form: Form) -> None:
        self.context, self.form = context, form

    # Looking

    def job(self, id: str | None) -> Job | None:
        """The watched job, or None when there is none or it is gone."""
        if not id:
            return None
        try:
            return self.context.jobs.get(id)
        except SvdUiError:
            return None

    def view(
        self, watched: str | None, request: gr.Request, undo: str | None = None, limit: int = history.PAGE
    ) -> View:
        """Everything that changes while jobs run."""
        jobs = self.context.jobs
        job = self.job(watched)
        listed = jobs.history(reader(self.context.settings, visitor(request)), limit=limit + 1)
        shown, more = listed[:limit], len(listed) > limit
        open_jobs = [other for other in shown if other.state not in ENDED]
        waiting = sum(1 for other in open_jobs if other.id != watched)
        around = stages.Around(
            self.context.device(), waiting, wall.origin(job, shown), self.context.training(), self.context.remote
        )
        stage = stages.render(job, jobs.file, around)
        grid = history.render(shown, jobs.file, watched, undo, more)
        active = bool(open_jobs) or (job is not None and job.state not in ENDED)
        return View(stage, grid, active, stages.state_of(job))

    # Starting

    def run(self, stills: Stills, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Submit what the form says; returns the first job. Raises SvdUiError."""
        row = self._row(values)
        return self._submit(all_requests(values, row, stills), request)

    def draft_wall(self, stills: Stills, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Submit a draft wall of what the form says. Raises SvdUiError."""
        row = self._row(values)
        return self._submit([wall_request(values, row, stills)], request)

    def full_tile(self, id: str, index: int, request: gr.Request) -> Job:
        """Render one tile of a wall in full: its seed and motion, exactly. Raises NotFound."""
        return self.context.jobs.submit(in_full(self._got(id), index), visitor(request))

    def _row(self, values: Mapping[str, Any]) -> CheckpointRow:
        row = self.context.row(values["checkpoint"])
        if not self.context.present(row):
            raise BadInput(
                f"{row.title} is not on this machine: download it first, or choose another.", field="checkpoint"
            )
        return row

    def _submit(self, wanted: list[GenerationRequest], request: gr.Request) -> Job:
        if any(item.image is None for item in wanted) and not self.context.text_to_image_present():
            raise BadInput("The model that makes stills is not on this machine: download it first.", field="prompt")
        owner = visitor(request)
        jobs = [self.context.jobs.submit(item, owner) for item in wanted]
        return jobs[0]

    def make_still(self, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Only the first frame of the prompt."""
        row = self.context.row(values["checkpoint"])
        wanted = request_of(values, row, None)
        if not self.context.text_to_image_present():
            raise BadInput("The model that makes stills is not on this machine: download it first.", field="prompt")
        return self.context.jobs.submit(wanted, visitor(request), kind="still")

    def fetch(self, what: str, request: gr.Request) -> Job:
        """Download a checkpoint, or the model that makes stills, as a job."""
        return self.context.jobs.submit(GenerationRequest(checkpoint=what), visitor(request), kind="download")

    def retry(self, id: str, request: gr.Request) -> Job:
        return self.context.jobs.retry(id, visitor(request))

    def reseed(self, id: str, request: gr.Request) -> Job:
        """The same clip with another seed."""
        job = self._got(id)
        wanted = job.result.request if job.result else job.request
        update: dict[str, Any] = {"seed": None}
        if wanted.image and wanted.prompt:
            update["prompt"] = None  # the still is made already; a request starts from one of the two
        return self.context.jobs.submit(wanted.model_copy(update=update), visitor(request))

    def stop(self, id: str, request: gr.Request) -> None:
        self.context.jobs.cancel(id, reader(self.context.settings, visitor(request)))

    def delete(self, id: str, request: gr.Request) -> None:
        self.context.jobs.delete(id, reader(self.context.settings, visitor(request)))

    def undelete(self, id: str, request: gr.Request) -> None:
        self.context.jobs.undelete(id, reader(self.context.settings, visitor(request)))

    # Pictures and settings

    def reuse(self, id: str) -> Still:
        """The last frame of a clip, or a still that was made, as the next still."""
        job = self._got(id)
        if job.result is None:
            raise NotFound(what="frame")
        ref = job.result.last_frame if job.result.video else job.result.image
        prompt = "" if job.result.video else (job.result.request.prompt or "").strip()
        return of_ref(self.context.assets, ref or job.result.image, prompt)

    def stored(self, files: list[dict[str, str]]) -> tuple[GenerationRequest, list[str]] | None:
        """Settings in the first file, if that is what was dropped. Raises BadInput when it can only be settings."""
        from ...settings_tag import open_settings

        file = uploaded(str(files[0].get("path")))
        ending = file.suffix.lower()
        if ending not in SETTINGS_FILES | PERHAPS_SETTINGS:
            return None
        try:
            found = open_settings(file)
        except BadInput:
            if ending in SETTINGS_FILES:
                raise
            return None
        said = [f"Not known to this release and left out: {', '.join(found.dropped)}."] if found.dropped else []
        return found.request, said

    def taken(self, files: list[dict[str, str]], background: str) -> Stills:
        """Uploads as the form's stills. Raises BadPicture."""
        paths = [str(file.get("path")) for file in files]
        return {"items": take(self.context.assets, paths, background), "at": 0}

    def example(self, name: str) -> Stills:
        """A bundled photograph as the still."""
        from .stills import examples

        path = next((path for path in examples() if path.name == name), None)
        if path is None:
            raise NotFound(what="example")
        return {"items": [add(self.context.assets, path, "#ffffff")], "at": 0}

    def repainted(self, stills: Stills, background: str) -> Stills:
        """The same uploads on another background colour; those whose upload is gone stay as they are."""
        items: list[Still] = []
        for item in stills["items"]:
            try:
                path = item.get("path") or ""
                items.append(take(self.context.assets, [path], background)[0] if path else item)
            except SvdUiError:
                items.append(item)
        return {**stills, "items": items}

    def still_of(self, request: GenerationRequest) -> Still | None:
        """The picture a request names, if it is kept here."""
        if request.image is None:
            return None
        try:
            return of_ref(self.context.assets, request.image)
        except SvdUiError:
            return None

    def restored(self, id: str) -> GenerationRequest:
        job = self._got(id)
        return job.result.request if job.result else job.request

    def dials_of_tile(self, id: str, index: int) -> GenerationRequest:
        """What a tile of a wall would be rendered with. Raises NotFound."""
        return in_full(self._got(id), index)

    def _got(self, id: str) -> Job:
        return self.context.jobs.get(id)


def shown_still(stills: Stills | None, values: Mapping[str, Any]) -> Still | None:
    """The still the finder shows: on the prompt side only the one made from this very prompt."""
    from .form import uses_still

    still = current(stills)
    return still if still is not None and (values["source"] == PICTURE or uses_still(values, still)) else None
