"""Changing a clip that waits, on the page: its settings come into the form, the run button saves them in its place.

What stood in the form before comes back afterwards, so that nobody loses a clip that was half set up. The browser keeps
which job it is, so a refresh changes nothing.
"""

from __future__ import annotations

from typing import Any

from ...errors import BadInput, NotFound, NotWaiting
from ...jobs import Job
from ...request import SCHEMA_VERSION, GenerationRequest
from ..context import Context
from ..formatting import headline, html, notice, of_batch
from ..page import Changes, Given, Page
from .actions import LOOKING, VIEW, Actions
from .form import kept_values, request_of, wall_request
from .stills import Stills, checked, current, name_of

SHOWN = ("editing", "edit_line", "edit_acts")
GONE = "That clip does not wait any more. Its settings are in the form: press Animate to make another one with them."
MEANWHILE = "That clip has begun meanwhile, with the settings it had. Your changes are in the form: press Animate to make another one."


def wire(page: Page, context: Context) -> None:
    """Attach the handlers of editing."""
    actions = Actions(context, page.form)
    reads, writes = ("editing", "stills", *page.form), (*SHOWN, "stills", "notice", *page.form)
    acts, up = page["edit_acts"], "() => svdui.edited(true)"

    def edit(given: Given) -> Changes:
        """A job's settings into the form; raises NotFound for somebody else's, BadInput for one that does not wait."""
        job = waiting(actions, given.event.text("id"), given)
        before = (given["editing"] or {}).get("before") or {"version": SCHEMA_VERSION, "values": dict(given.form)}
        stills = (given["editing"] or {}).get("stills") or given["stills"]
        found = actions.into_form(job.request, given["stills"], text="", name=actions.name_of(job, given.request))
        said = "" if "good" in found["notice"] else found["notice"]
        form = {**found, "seeds": 1, "notice": said}
        return {**form, **shown(actions, job), "editing": {"id": job.id, "before": before, "stills": stills}}

    def leave(given: Given) -> Changes:
        return {**back(page, context, given["editing"]), "notice": ""}

    def begun(given: Given) -> Changes:
        """The list says that it waits no more: said once, the form stays as it is."""
        editing = given["editing"]
        job = actions.job((editing or {}).get("id"))
        if editing is None or (job is not None and job.state == "queued"):
            return {}
        return {**CLOSED, "notice": notice(MEANWHILE if job is not None and job.state != "cancelled" else GONE)}

    def save(given: Given) -> Changes:
        editing = given["editing"] or {}
        try:
            job = waiting(actions, str(editing.get("id")), given)
            request = wanted(actions, job, given)
            visitor = context.who(given.request)
            context.admission.check(visitor, request)
            context.jobs.queue.edit(job.id, request, visitor.reads, name=called(given["stills"], request, job))
        except (NotWaiting, NotFound):
            return begun(given)
        view = actions.view(given["watched"], given.request, given["undo"], given["limit"])
        done = notice(f"Saved: {headline(job)} waits in its place.", good=True)
        return {**view, **back(page, context, editing), "notice": done}

    page.on(acts.edit, edit, reads, writes, then=up, keep=True)
    page.on(acts.leave, leave, reads, writes, then="() => svdui.edited(false)", keep=True)
    page.on(acts.begun, begun, reads, (*SHOWN, "notice"), then="() => svdui.edited(false)")
    saved = dict.fromkeys((*reads, *LOOKING))
    page.on(
        page["save_edit"].click,
        save,
        saved,
        dict.fromkeys((*writes, *VIEW)),
        fields=True,
        keep=True,
        then="() => svdui.edited(false)",
    )


CLOSED: Changes = {"editing": None, "edit_line": "", "edit_acts": ""}


def shown(actions: Actions, job: Job) -> Changes:
    """What says that a job is being edited."""
    place = of_batch(actions.context.jobs.places([job]).get(job.id))
    facts = {"job": job, "place": place, "wall": job.request.wall is not None}
    return {"edit_line": html("animate/edit-line", **facts), "edit_acts": html("animate/edit-acts", **facts)}


def resumed(actions: Actions, editing: Any) -> Changes:
    """After a refresh: the same, where that job still waits."""
    job = actions.job(str(editing.get("id"))) if isinstance(editing, dict) else None
    return shown(actions, job) if job is not None and job.state == "queued" else {**CLOSED}


def waiting(actions: Actions, id: str, given: Given) -> Job:
    """Raises NotFound for somebody else's job, BadInput for one that does not wait."""
    job = actions.got(id)
    if not actions.may_read(job, given.request):
        raise NotFound(what="job")
    if job.state != "queued" or job.kind == "download":
        raise NotWaiting()
    return job


def wanted(actions: Actions, job: Job, given: Given) -> GenerationRequest:
    """What the form says, of the kind that ``job`` is. Raises BadInput."""
    values, stills = given.form, given["stills"]
    if job.kind == "still":
        return request_of(values, actions.context.row(values["checkpoint"]), None)
    row = actions.present_row(values)
    if len(stills["items"]) > 1:
        raise BadInput("A waiting clip has one picture: remove the others first.", field="image")
    before = job.request.wall
    if before is None:
        return request_of(values, row, current(stills))
    asked = wall_request(values, row, stills)
    same = asked.wall is not None and asked.wall == before.model_copy(update={"without": ()})
    return asked.model_copy(update={"wall": before}) if same else asked  # tiles that were cancelled stay so


def called(stills: Stills, request: GenerationRequest, job: Job) -> str:
    """The name of the picture's file: its owner's own word, or the one it had."""
    if request.image == job.request.image:
        return job.name
    return next((name_of(still) for still in stills["items"] if still["ref"] == request.image), "")


def back(page: Page, context: Context, editing: Any) -> Changes:
    """The form as it was before; what the browser kept of it is checked like all that comes from there."""
    before = editing if isinstance(editing, dict) else {}
    if not before:
        return {**CLOSED}
    values = kept_values(page, before.get("before"), context.rows())
    return {**values, **CLOSED, "stills": checked(context.assets, before.get("stills"))}
