"""What happens on the page: handlers over ``Jobs``. None waits for work; a job is started and then watched."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...catalog import CheckpointRow
from ...errors import BadInput, NotFound, SvdUiError
from ...events import ENDED
from ...jobs import Job, JobKind, in_full
from ...migration import left_out
from ...notes import sentence
from ...request import FOCUS, GenerationRequest
from ..context import Context, uploaded
from ..copies import forget_copies
from ..formatting import kept_for, notice
from ..page import Changes
from ..visitor import Visitor
from .form import PICTURE, all_requests, request_of, values_of, wall_request
from .stage import PAGE, Around, batch_of, history, origin, stage, state_of
from .stills import (
    NO_STILLS,
    PERHAPS_SETTINGS,
    SETTINGS_FILES,
    Still,
    Stills,
    add,
    framed,
    name_of,
    of_ref,
    take,
    with_clip,
)

VIEW = ("stage", "history", "timer", "seen")
"""What ``Actions.view`` changes."""
LOOKING = ("watched", "undo", "limit")
"""What it goes by."""


class Actions:
    """Handlers that need no component: each takes plain values and gives plain values back.

    ``controls`` are the names of the form's.
    """

    def __init__(self, context: Context, controls: Collection[str]) -> None:
        self.context, self.controls = context, controls

    # Looking

    def job(self, id: str | None) -> Job | None:
        """The watched job, or None when there is none or it is gone."""
        if not id:
            return None
        try:
            return self.context.jobs.get(id)
        except SvdUiError:
            return None

    def view(self, watched: str | None, request: gr.Request, undo: str | None = None, limit: int = PAGE) -> Changes:
        """Everything that changes while jobs run; the timer goes on while anything in it is unfinished."""
        jobs = self.context.jobs
        watched = watched if isinstance(watched, str) else None  # what a browser kept may be anything
        job = self.job(watched)
        listed = jobs.history(self.context.who(request).reads, limit=limit + 1)
        shown, more = listed[:limit], len(listed) > limit
        together = jobs.batch(job) if job else []
        open_jobs = [other for other in shown if other.state not in ENDED]
        around = Around(
            device=self.context.device(),
            waiting=sum(1 for other in open_jobs if other.id not in {watched, *(one.id for one in together)}),
            batch=batch_of(job, together),
            lost=bool(watched),
            history=bool(shown),
            wall=origin(job, shown),
            training=self.context.training(),
            paused=jobs.queue.paused,
            remote=self.context.remote,
        )
        goes_on = bool(open_jobs) or around.batch is not None or (job is not None and job.state not in ENDED)
        return {
            "stage": stage(job, jobs.file, around),
            "history": history(shown, jobs.file, watched, undo, more, kept_for(self.context.settings)),
            "timer": self._timer(goes_on, request.session_hash or ""),
            "seen": state_of(job),
        }

    def _timer(self, goes_on: bool, page: str) -> gr.Timer:
        """When the page looks again: seldom where many follow their clips at once."""
        following = self.context.following
        if goes_on:
            return gr.Timer(following.pace(page), active=True)
        following.leave(page)
        return gr.Timer(active=False)

    # Starting

    def run(self, stills: Stills, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Submit what the form says; returns the first job. Raises SvdUiError."""
        row = self.present_row(values)
        return self._submit(all_requests(values, row, stills), request, stills)

    def draft_wall(self, stills: Stills, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Submit a draft wall of what the form says. Raises SvdUiError."""
        row = self.present_row(values)
        return self._submit([wall_request(values, row, stills)], request, stills)

    def full_tile(self, id: str, index: int, request: gr.Request) -> Job:
        """Render one tile of a wall in full: its seed and motion, exactly. Raises NotFound."""
        job = self.got(id)
        return self._admitted([in_full(job, index)], self.context.who(request), name=self.name_of(job, request))[0]

    def present_row(self, values: Mapping[str, Any]) -> CheckpointRow:
        """The form's checkpoint. Raises BadInput where its weights are not here."""
        row = self.context.row(values["checkpoint"])
        trouble = self.context.trouble(row)
        if trouble is not None:
            raise BadInput(f"{row.title}: {sentence(trouble)}", field="checkpoint")
        if not self.context.present(row):
            raise BadInput(
                f"{row.title} is not on this machine: download it first, or choose another.", field="checkpoint"
            )
        return row

    def _submit(
        self, wanted: list[GenerationRequest], request: gr.Request, stills: Stills = NO_STILLS, kind: JobKind = "clip"
    ) -> Job:
        if any(item.image is None for item in wanted) and not self.context.text_to_image_present():
            raise BadInput("The model that makes pictures is not on this machine: download it first.", field="prompt")
        names = {still["ref"]: name_of(still) for still in stills["items"]}
        batch = secrets.token_hex(16) if len(wanted) > 1 else ""
        return self._admitted(wanted, self.context.who(request), kind, batch=batch, names=names)[0]

    def _admitted(
        self,
        wanted: Sequence[GenerationRequest],
        visitor: Visitor,
        kind: JobKind = "clip",
        *,
        name: str = "",
        batch: str = "",
        names: Mapping[str, str] | None = None,
    ) -> list[Job]:
        """Submit all of ``wanted``, or none where a visitor asks for too much. ``names`` are of pictures, ``name`` of all."""
        jobs = []
        with self.context.admission.of(visitor, wanted) as made:
            for item in wanted:
                called = (names or {}).get(item.image or "", name)
                jobs.append(self.context.jobs.submit(item, visitor.owner, kind, name=called, batch=batch))
                made.append(jobs[-1].id)
        return jobs

    def make_still(self, values: Mapping[str, Any], request: gr.Request) -> Job:
        """Only the first frame of the prompt."""
        row = self.context.row(values["checkpoint"])
        return self._submit([request_of(values, row, None)], request, kind="still")

    def fetch(self, what: str, request: gr.Request) -> Job:
        """Download a checkpoint, or the model that makes stills, as a job."""
        self.context.require_operator(request, "download weights")
        owner = self.context.who(request).owner
        return self.context.jobs.submit(GenerationRequest(checkpoint=what), owner, kind="download")

    def retry(self, id: str, request: gr.Request) -> Job:
        job = self.got(id)
        if job.kind == "download":
            return self.fetch(job.request.checkpoint, request)
        return self._admitted([job.request], self.context.who(request), job.kind, name=self.name_of(job, request))[0]

    def reseed(self, id: str, request: gr.Request) -> Job:
        """The same clip with another seed."""
        job = self.got(id)
        wanted = job.known_request
        update: dict[str, Any] = {"seed": None}
        if wanted.image and wanted.prompt:
            update["prompt"] = None  # the still is made already; a request starts from one of the two
        if wanted.wall:
            update["wall"] = wanted.wall.model_copy(update={"without": ()})
        name = self.name_of(job, request)
        return self._admitted([wanted.model_copy(update=update)], self.context.who(request), name=name)[0]

    def name_of(self, job: Job, request: gr.Request) -> str:
        """What its picture's file is called, for the one who brought it: who opened a link makes the clip without."""
        return job.name if self.may_read(job, request) else ""

    def may_read(self, job: Job, request: gr.Request) -> bool:
        """Whether the job is listed for the visitor, who may then change it."""
        owner = self.context.who(request).reads
        return owner is None or owner == job.owner

    def stop(self, id: str, request: gr.Request) -> None:
        self.context.jobs.cancel(id, self.context.who(request).reads)

    def leave_out(self, id: str, tile: int, request: gr.Request) -> None:
        """A wall goes on without one of its tiles."""
        self.context.jobs.queue.leave_out(id, tile, self.context.who(request).reads)

    def stop_all(self, id: str, request: gr.Request) -> None:
        """All that was asked for together with a job."""
        self.context.jobs.cancel_batch(id, self.context.who(request).reads)

    def delete(self, id: str, request: gr.Request) -> None:
        self.context.jobs.delete(id, self.context.who(request).reads)
        forget_copies(id)

    def undelete(self, id: str, request: gr.Request) -> None:
        self.context.jobs.undelete(id, self.context.who(request).reads)

    # Pictures and settings

    def reuse(self, id: str, request: gr.Request) -> Still:
        """The last frame of a clip, or a still that was made, as the next still."""
        job = self.got(id)
        if job.result is None:
            raise NotFound(what="frame")
        ref = job.result.last_frame if job.result.video else job.result.image
        prompt = "" if job.result.video else (job.result.request.prompt or "").strip()
        still = of_ref(self.context.assets, ref or job.result.image, prompt)
        return {**still, "name": self.name_of(job, request)}

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
        return found.request, [sentence(note) for note in left_out(found.dropped)]

    def still_of(self, request: GenerationRequest) -> Still | None:
        """The picture a request names, if it is kept here."""
        if request.image is None:
            return None
        try:
            return of_ref(self.context.assets, request.image)
        except SvdUiError:
            return None

    def restored(self, id: str, stills: Stills, request: gr.Request) -> Changes:
        """The form as a job was asked for."""
        job = self.got(id)
        return self.into_form(job.known_request, stills, name=self.name_of(job, request))

    def dials_of_tile(self, id: str, index: int) -> GenerationRequest:
        """What a tile of a wall would be rendered with. Raises NotFound."""
        return in_full(self.got(id), index)

    def into_form(
        self,
        request: GenerationRequest,
        stills: Stills,
        said: list[str] | None = None,
        text: str = "Settings restored.",
        clip: str = "",
        name: str = "",
    ) -> Changes:
        """What makes the form describe ``request``; ``said`` is what came of reading it. Frames of ``clip``, an upload, are
        offered in place of its picture, or stand in for it; ``name`` is what that picture is called.
        """
        still = self.still_of(request)
        if still is not None:
            still["name"] = name
        said = list(said or [])
        if clip and still is not None:
            still = with_clip(self.context.assets, still, clip)
        elif clip and request.image and "clip" in (first := add(self.context.assets, uploaded(clip), "#ffffff", clip)):
            still = first
            said.append("Its picture is not on this machine: the clip's first frame is used instead.")
        if request.image and still is None:
            said.append("Its picture is not on this machine: add it again.")
        if request.checkpoint != "auto" and request.checkpoint not in self.context.rows():
            said.append(f"Its checkpoint {request.checkpoint} is not known here: choose another.")
            request = request.model_copy(update={"checkpoint": "auto"})
        values = values_of(request, self.context.row(request.checkpoint), still)
        if still is not None:  # a focus belongs to its picture: the next one has its own subject
            still = framed(self.context.assets, still, request)
            values |= dict.fromkeys(FOCUS)
        pictures = {"items": [still], "at": 0} if still else NO_STILLS if request.image is None else stills
        shown = {name: value for name, value in values.items() if name in self.controls}
        return {**shown, "stills": pictures, "notice": notice(" ".join([text, *said]), good=not said)}

    def entered(
        self, files: list[dict[str, str]], stills: Stills, background: str, left: Sequence[str] = ()
    ) -> Changes:
        """Files that came in by any way: pictures, clips, or settings to restore; ``left`` is said of those that stayed
        behind. Raises BadPicture, BadInput.
        """
        paths = [str(file.get("path")) for file in files]
        stored = self.stored(files) if files else None
        if stored is not None:
            clip = "" if uploaded(paths[0]).suffix.lower() in SETTINGS_FILES else paths[0]
            said = [*stored[1], *left]
            if len(paths) > 1:
                said.append(f"Only {Path(paths[0]).name} was used: settings come from one file at a time.")
            return self.into_form(stored[0], stills, said, clip=clip)
        items, broken = take(self.context.assets, paths, background)
        changes: Changes = {"source": PICTURE, "stills": {"items": items, "at": 0}}
        if left or broken:
            changes["notice"] = notice(" ".join([*broken, *left]))
        elif items and "clip" in items[0] and uploaded(paths[0]).suffix.lower() == ".mp4":
            changes["notice"] = notice(
                "This clip was not made here, so it has no settings: one of its frames is used.", good=True
            )
        return changes

    def got(self, id: str) -> Job:
        """Raises NotFound."""
        return self.context.jobs.get(id)
