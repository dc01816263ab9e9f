"""Handlers of the left side: opening the page, pictures, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ..train import events as training
from . import choosing, job_events
from .form import SHAPING, switched
from .form_view import left_side
from .prediction import Change
from .stills import NO_STILLS, Stills, checked
from .wiring import QUIET, Wiring

if TYPE_CHECKING:
    from ..context import Context
    from .layout import Page


def wire(page: Page, context: Context) -> None:
    """Attach every handler, one function per part of the page."""
    wiring = Wiring(page, context)
    opening(wiring)
    pictures(wiring)
    settings(wiring)
    choosing.remedies(wiring)
    choosing.tiles(wiring)
    choosing.loras(wiring)
    job_events.running(wiring)
    job_events.looking_back(wiring)
    if page.train is not None:
        training.wire(training.Training(page.train, context), wiring)


def opening(wiring: Wiring) -> None:
    page = wiring.page

    def first(request: gr.Request, kept: Any, stills: Any, watched: str | None) -> tuple[Any, ...]:
        values = wiring.form.kept(kept, wiring.context.rows())
        stills = checked(wiring.context.assets, stills)
        watched = request.query_params.get("job") or watched
        watched = watched if wiring.actions.job(watched) else None
        left = left_side(wiring.context, values, stills)
        return (
            *values.values(), values["preset"], stills, watched,
            *wiring.show(watched, request), wiring.device_line(), *wiring.left_updates(left),
        )  # fmt: skip

    outputs = [
        *wiring.controls,
        wiring.preset_before,
        page.stills,
        page.watched,
        *wiring.view,
        page.status,
        *wiring.left,
    ]
    gr.on([page.root.load], first, [page.kept, page.stills, page.watched], outputs, **QUIET).then(
        None, js="() => svdui.opened()", **QUIET
    )

    def now_and_then(stills: Stills, change: Change | None, *values: Any) -> tuple[Any, ...]:
        """A worker is ready, a download ends, memory is freed, a clip teaches its time: none is an event of the page."""
        left = left_side(wiring.context, wiring.values(values), stills, change)
        offers = (left.offer, left.still_offer, gr.update(interactive=left.can_make))
        return wiring.device_line(), *offers, left.summary, left.obstacle, left.loras

    outputs = [page.status, page.offer, page.still_offer, page.make, page.summary, page.obstacle, page.loras]
    page.slow.tick(now_and_then, [page.stills, wiring.change, *wiring.controls], outputs, **QUIET)

    def release() -> str:
        wiring.context.jobs.release()
        gr.Info("Memory is being freed.", duration=3)
        return wiring.device_line()

    page.status.release(release, None, page.status, **QUIET)


def pictures(wiring: Wiring) -> None:
    page = wiring.page
    background = wiring.form.controls["background"]

    def take(event: gr.EventData, stills: Stills, background: str, *values: Any) -> tuple[Any, ...]:
        return wiring.entered(list(event.files or []), stills, background, wiring.values(values))

    def example(event: gr.EventData) -> tuple[Any, ...]:
        return wiring.guarded(lambda: (wiring.actions.example(str(event.name)), ""), 2)

    def aim(event: gr.EventData) -> tuple[float, float]:
        return min(1.0, max(0.0, float(event.x))), min(1.0, max(0.0, float(event.y)))

    def choose(event: gr.EventData, stills: Stills) -> Stills:
        return {**stills, "at": int(event.at)}

    def drop(event: gr.EventData, stills: Stills) -> Stills:
        items = [item for index, item in enumerate(stills["items"]) if index != int(event.at)]
        return {"items": items, "at": min(stills["at"], max(0, len(items) - 1))}

    entered = [page.stills, page.notice, *wiring.controls]
    page.door.take(take, [page.stills, background, *wiring.controls], entered, **QUIET).then(**wiring.keep())
    page.door.example(example, None, [page.stills, page.notice], **QUIET)
    focus = [wiring.form.controls["focus_x"], wiring.form.controls["focus_y"]]
    page.finder.aim(aim, None, focus, trigger_mode="always_last", **QUIET).then(**wiring.keep())
    page.finder.choose(choose, page.stills, page.stills, **QUIET)
    page.finder.drop(drop, page.stills, page.stills, **QUIET)
    page.finder.clear(lambda: NO_STILLS, None, page.stills, **QUIET)
    background.change(wiring.actions.repainted, [page.stills, background], page.stills, **QUIET)


def settings(wiring: Wiring) -> None:
    page, form = wiring.page, wiring.form

    def refresh(stills: Stills, change: Change | None, *values: Any) -> tuple[Any, ...]:
        return wiring.left_updates(left_side(wiring.context, wiring.values(values), stills, change))

    events = [control.change for name, control in form.controls.items() if name in SHAPING]
    gr.on(
        [*events, page.stills.change],
        refresh,
        [page.stills, wiring.change, *wiring.controls],
        wiring.left,
        trigger_mode="always_last",
        **QUIET,
    ).then(None, js="() => svdui.count()", **QUIET)
    gr.on([control.input for control in wiring.controls], **wiring.keep())

    def preset(new: str, old: str, *values: Any) -> tuple[Any, ...]:
        from .layout import describe_preset

        changes = switched(old, new, wiring.values(values))
        updates = tuple(changes.get(name, gr.skip()) for name in wiring.names)
        return new, describe_preset(new), *updates

    chosen = form.controls["preset"]
    chosen.input(
        preset,
        [chosen, wiring.preset_before, *wiring.controls],
        [wiring.preset_before, page.preset_help, *wiring.controls],
        trigger_mode="always_last",
        **QUIET,
    ).then(**wiring.keep())
    js = "() => Math.floor(Math.random() * 4294967296)"
    page.shuffle.click(None, None, form.controls["seed"], js=js, **QUIET).then(**wiring.keep())
