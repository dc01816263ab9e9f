"""Handlers of the right side and the history: starting jobs, following them, looking back, choosing from a wall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ...errors import SvdUiError
from ...jobs import Job
from ..context import Context
from ..page import Changes, Given, Page
from . import further
from .actions import LOOKING, VIEW, Actions
from .form import PICTURE, PROMPT
from .stage import PAGE, state_of


def wire(page: Page, context: Context) -> None:
    """Attach every handler of the right side."""
    actions = Actions(context, page.form)
    _starting(page, actions)
    _following(page, actions)
    _stage_buttons(page, actions)
    _looking_back(page, actions)
    _history(page, actions)
    _tiles(page, actions)


def _view(actions: Actions, given: Given, watched: str | None) -> Changes:
    return {**actions.view(watched, given.request, given["undo"], given["limit"]), "watched": watched}


def _starting(page: Page, actions: Actions) -> None:
    def start(submit: Callable[[Given], Job]) -> Callable[[Given], Changes]:
        return lambda given: {**_view(actions, given, submit(given).id), "change": None}

    starts = {
        "animate": lambda given: actions.run(given["stills"], given.form, given.request),
        "draft_wall": lambda given: actions.draft_wall(given["stills"], given.form, given.request),
        "make_still": lambda given: actions.make_still(given.form, given.request),
    }
    reads, writes = ("stills", *LOOKING, *page.form), ("watched", "notice", "change", *VIEW)
    for name, submit in starts.items():
        says, then = "still_notice" if name == "make_still" else "notice", "() => svdui.submitted()"
        page.on(page[name].click, start(submit), reads, writes, fields=True, says=says, then=then)


def _following(page: Page, actions: Actions) -> None:
    def tick(given: Given) -> Changes:
        view = actions.view(given["watched"], given.request, given["undo"], given["limit"])
        return {**view, **made_still(actions, actions.job(given["watched"]), given["seen"], given.request)}

    page.on(page["timer"].tick, tick, (*LOOKING, "seen"), (*VIEW, "stills"))


def made_still(actions: Actions, job: Job | None, seen: str, request: gr.Request) -> Changes:
    """The still a prompt has just become, for the form; nothing when it was seen before."""
    if job is None or job.kind != "still" or job.state != "finished" or seen == state_of(job):
        return {}
    try:
        return {"stills": {"items": [actions.reuse(job.id, request)], "at": 0}}
    except SvdUiError:
        return {}


def _stage_buttons(page: Page, actions: Actions) -> None:
    def again(action: Callable[[str, gr.Request], Job]) -> Callable[[Given], Changes]:
        def handler(given: Given) -> Changes:
            job = action(given.event.text("id") or str(given["watched"]), given.request)
            return _view(actions, given, job.id)

        return handler

    stage, started = page["stage"], ("watched", "notice", *VIEW)
    page.on(stage.retry, again(actions.retry), LOOKING, started, says="stage_notice")
    page.on(stage.reseed, again(actions.reseed), LOOKING, started, says="stage_notice")
    page.on(page["offer"].fetch, again(actions.fetch), LOOKING, started)
    page.on(page["still_offer"].fetch, again(actions.fetch), LOOKING, started, says="still_notice")

    def ending(action: Callable[[str, gr.Request], None]) -> Callable[[Given], Changes]:
        def handler(given: Given) -> Changes:
            action(given.event.text("id") or str(given["watched"]), given.request)
            return _view(actions, given, given["watched"])

        return handler

    page.on(stage.stop, ending(actions.stop), LOOKING, started, says="stage_notice")
    page.on(stage.stop_all, ending(actions.stop_all), LOOKING, started, says="stage_notice")
    page.on(page["history"].stop, ending(actions.stop), LOOKING, started, says="history_notice")

    def leave_out(given: Given) -> Changes:
        actions.leave_out(given.event.text("id"), given.event.whole("at"), given.request)
        return _view(actions, given, given["watched"])

    page.on(stage.untile, leave_out, LOOKING, started, says="stage_notice")

    def reuse(given: Given) -> Changes:
        still = actions.reuse(given["watched"] or "", given.request)
        return {"source": PROMPT if still.get("prompt") else PICTURE, "stills": {"items": [still], "at": 0}}

    def go_further(given: Given) -> Changes:
        """The settings of the clip that is shown, with more asked of it; nothing is started."""
        job = actions.got(given["watched"] or "")
        row = actions.context.row(job.known_request.checkpoint)
        request, text = further.asked(job, given.event.text("name"), row)
        return actions.into_form(request, given["stills"], text=text)

    up = "() => document.querySelector('#left').scrollIntoView({behavior: 'smooth'})"
    form = ("stills", "notice", *page.form)
    page.on(stage.further, go_further, ("watched", "stills"), form, says="stage_notice", keep=True, then=up)
    page.on(stage.reuse, reuse, ("watched",), ("source", "stills", "notice"), says="stage_notice", then=up)


def _looking_back(page: Page, actions: Actions) -> None:
    def restore(given: Given) -> Changes:
        return actions.restored(given.event.text("id") or str(given["watched"]), given["stills"], given.request)

    def view(given: Given) -> Changes:
        return _view(actions, given, given.event.text("id"))

    for name in ("stage", "history"):
        piece, writes, says = page[name], ("stills", "notice", *page.form), f"{name}_notice"
        page.on(piece.restore, restore, ("watched", "stills"), writes, keep=True, says=says)
        page.on(piece.view, view, LOOKING, ("watched", "notice", *VIEW), says=says, then="() => svdui.look()")


def _history(page: Page, actions: Actions) -> None:
    def remove(given: Given) -> Changes:
        id, watched = given.event.text("id"), given["watched"]
        actions.delete(id, given.request)
        return seen_now(given, None if watched == id else watched, undo=id)

    def undo(given: Given) -> Changes:
        id = given.event.text("id")
        actions.undelete(id, given.request)
        return seen_now(given, given["watched"] or id, undo=None)

    def seen_now(given: Given, watched: str | None, undo: str | None) -> Changes:
        view = actions.view(watched, given.request, undo, given["limit"])
        return {**view, "watched": watched, "undo": undo}

    def more(given: Given) -> Changes:
        limit = given["limit"] + PAGE
        return {**actions.view(given["watched"], given.request, given["undo"], limit), "limit": limit}

    history, changed = page["history"], ("watched", "undo", "notice", *VIEW)
    page.on(history.remove, remove, LOOKING, changed, says="history_notice")
    page.on(history.undo, undo, LOOKING, changed, says="history_notice")
    page.on(history.more, more, LOOKING, ("limit", *VIEW))


def _tiles(page: Page, actions: Actions) -> None:
    def full(given: Given) -> Changes:
        """Starts the clip; the form then says what it is made with."""
        job = actions.full_tile(given.event.text("id"), given.event.whole("at"), given.request)
        return {**actions.into_form(job.request, given["stills"]), "notice": "", **_view(actions, given, job.id)}

    def use(given: Given) -> Changes:
        request = actions.dials_of_tile(given.event.text("id"), given.event.whole("at"))
        text = f"Set to seed {request.seed} and motion {request.motion_bucket_id}."
        return actions.into_form(request, given["stills"], text=text)

    form, submitted = ("stills", "notice", *page.form), "() => svdui.submitted()"
    reads, writes = ("stills", *LOOKING), ("watched", *form, *VIEW)
    said: dict[str, Any] = {"says": "stage_notice", "keep": True}
    page.on(page["stage"].full, full, reads, writes, then=submitted, **said)
    page.on(page["stage"].dials, use, ("stills",), form, **said)
