"""Handlers of the right side and the history: starting jobs, following them, looking back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr

from ...errors import SvdUiError
from ...jobs import Job
from . import history, stage
from .form import field_updates
from .stills import Stills
from .wiring import QUIET, Wiring


def running(wiring: Wiring) -> None:
    page = wiring.page
    done = [page.watched, page.notice, wiring.change, *wiring.view, *wiring.messages]

    def start(submit: Callable[..., Job]) -> Callable[..., tuple[Any, ...]]:
        def handler(
            request: gr.Request, stills: Stills, watched: str | None, undo: str | None, limit: int, *values: Any
        ) -> tuple[Any, ...]:
            try:
                job = submit(stills, wiring.values(values), request)
            except SvdUiError as error:
                view = (gr.skip() for _ in wiring.view)
                return watched, wiring.said(error), gr.skip(), *view, *field_updates(error, wiring.form)
            return job.id, "", None, *wiring.show(job.id, request, undo, limit), *field_updates(None, wiring.form)

        return handler

    inputs = [page.stills, *wiring.looking, *wiring.controls]
    page.animate.click(start(wiring.actions.run), inputs, done, **QUIET).then(
        None, js="() => svdui.submitted()", **QUIET
    )
    page.draft_wall.click(start(wiring.actions.draft_wall), inputs, done, **QUIET).then(
        None, js="() => svdui.submitted()", **QUIET
    )
    make = start(lambda stills, values, request: wiring.actions.make_still(values, request))
    page.make.click(make, inputs, done, **QUIET).then(None, js="() => svdui.submitted()", **QUIET)
    following(wiring)
    stage_buttons(wiring)


def following(wiring: Wiring) -> None:
    page = wiring.page

    async def tick(
        request: gr.Request, watched: str | None, undo: str | None, limit: int, seen: str
    ) -> tuple[Any, ...]:
        shown = await asyncio.to_thread(wiring.show, watched, request, undo, limit)
        job = await asyncio.to_thread(wiring.actions.job, watched)
        return *shown, made_still(wiring, job, seen)

    inputs = [*wiring.looking, wiring.seen]
    page.timer.tick(tick, inputs, [*wiring.view, page.stills], **QUIET)


def made_still(wiring: Wiring, job: Job | None, seen: str) -> Any:
    """The still a prompt has just become, for the form; nothing when it was seen before."""
    if job is None or job.kind != "still" or job.state != "finished" or seen == stage.state_of(job):
        return gr.skip()
    try:
        return {"items": [wiring.actions.reuse(job.id)], "at": 0}
    except SvdUiError:
        return gr.skip()


def stage_buttons(wiring: Wiring) -> None:
    page = wiring.page

    def again(action: Callable[..., Job]) -> Callable[..., tuple[Any, ...]]:
        def handler(
            event: gr.EventData, request: gr.Request, watched: str | None, undo: str | None, limit: int
        ) -> tuple[Any, ...]:
            try:
                job = action(str(event.id or watched), request)
            except SvdUiError as error:
                return watched, wiring.said(error), *(gr.skip() for _ in wiring.view)
            return job.id, "", *wiring.show(job.id, request, undo, limit)

        return handler

    started = [page.watched, page.notice, *wiring.view]
    page.stage.retry(again(wiring.actions.retry), wiring.looking, started, **QUIET)
    page.stage.reseed(again(wiring.actions.reseed), wiring.looking, started, **QUIET)
    page.offer.fetch(again(wiring.actions.fetch), wiring.looking, started, **QUIET)
    page.still_offer.fetch(again(wiring.actions.fetch), wiring.looking, started, **QUIET)

    def stop(request: gr.Request, watched: str | None, undo: str | None, limit: int) -> tuple[Any, ...]:
        try:
            wiring.actions.stop(watched or "", request)
        except SvdUiError as error:
            return *(gr.skip() for _ in wiring.view), wiring.said(error)
        return *wiring.show(watched, request, undo, limit), ""

    page.stage.stop(stop, wiring.looking, [*wiring.view, page.notice], **QUIET)

    def reuse(watched: str | None) -> tuple[Any, ...]:
        def work() -> tuple[Any, ...]:
            still = wiring.actions.reuse(watched or "")
            return "Prompt" if still.get("prompt") else "Picture", {"items": [still], "at": 0}, ""

        return wiring.guarded(work, 3)

    page.stage.reuse(reuse, page.watched, [wiring.form.controls["source"], page.stills, page.notice], **QUIET).then(
        None, js="() => document.querySelector('#left').scrollIntoView({behavior: 'smooth'})", **QUIET
    )


def looking_back(wiring: Wiring) -> None:
    page = wiring.page
    restored = [page.stills, page.notice, *wiring.controls]

    def restore(event: gr.EventData, watched: str | None, stills: Stills, *values: Any) -> tuple[Any, ...]:
        try:
            request = wiring.actions.restored(str(event.id or watched))
            return wiring.restore(request, stills, wiring.values(values))
        except SvdUiError as error:
            return gr.skip(), wiring.said(error), *(gr.skip() for _ in wiring.controls)

    for piece in (page.stage, page.history):
        piece.restore(restore, [page.watched, page.stills, *wiring.controls], restored, **QUIET).then(**wiring.keep())

    def view(event: gr.EventData, request: gr.Request, undo: str | None, limit: int) -> tuple[Any, ...]:
        return str(event.id), *wiring.show(str(event.id), request, undo, limit)

    for piece in (page.stage, page.history):
        piece.view(view, [wiring.undo, wiring.limit], [page.watched, *wiring.view], **QUIET).then(
            None, js="() => svdui.look()", **QUIET
        )

    def change(action: Callable[[str, gr.Request], None], deleting: bool) -> Callable[..., tuple[Any, ...]]:
        def handler(event: gr.EventData, request: gr.Request, watched: str | None, limit: int) -> tuple[Any, ...]:
            id = str(event.id)
            try:
                action(id, request)
            except SvdUiError as error:
                return watched, None, wiring.said(error), *(gr.skip() for _ in wiring.view)
            watched = (None if watched == id else watched) if deleting else watched or id
            undo = id if deleting else None
            return watched, undo, "", *wiring.show(watched, request, undo, limit)

        return handler

    changed = [page.watched, wiring.undo, page.notice, *wiring.view]
    page.history.remove(change(wiring.actions.delete, True), [page.watched, wiring.limit], changed, **QUIET)
    page.history.undo(change(wiring.actions.undelete, False), [page.watched, wiring.limit], changed, **QUIET)

    def more(request: gr.Request, watched: str | None, undo: str | None, limit: int) -> tuple[Any, ...]:
        return limit + history.PAGE, *wiring.show(watched, request, undo, limit + history.PAGE)

    page.history.more(more, wiring.looking, [wiring.limit, *wiring.view], **QUIET)
