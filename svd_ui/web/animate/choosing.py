"""Handlers of the short cuts: the remedy of what does not fit, the tiles of a draft wall, the list of LoRAs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ...errors import SvdUiError
from .actions import shown_still
from .form_view import left_side
from .loras import toggled, weighed
from .prediction import Change, asked, change_of, estimated
from .stills import Stills
from .wiring import QUIET, Wiring


def remedies(wiring: Wiring) -> None:
    page = wiring.page

    def remedy(stills: Stills, *given: Any) -> tuple[Any, ...]:
        """What to change is asked again here: the page may be older than the form."""
        values = wiring.values(given)
        request = asked(values, wiring.context.row(values["checkpoint"]), shown_still(stills, values))
        change = change_of(estimated(wiring.context, request), values)
        if change is None:
            return gr.skip(), gr.skip(), *(gr.skip() for _ in wiring.controls)
        left = left_side(wiring.context, {**values, **change["after"]}, stills, change)
        return change, left.obstacle, *updates(change["after"])

    def back(change: Change | None) -> tuple[Any, ...]:
        return None, *updates(change["before"] if change else {})

    def updates(values: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(gr.update(value=values[name]) if name in values else gr.skip() for name in wiring.names)

    outputs = [wiring.change, page.obstacle, *wiring.controls]
    page.obstacle.remedy(remedy, [page.stills, *wiring.controls], outputs, **QUIET).then(
        None, js="() => svdui.focus('#obstacle [data-act=unremedy]')", **QUIET
    ).then(**wiring.keep())
    page.obstacle.unremedy(back, wiring.change, [wiring.change, *wiring.controls], **QUIET).then(
        None, js="() => svdui.focus('#animate')", **QUIET
    ).then(**wiring.keep())


def tiles(wiring: Wiring) -> None:
    page = wiring.page
    dials = [page.stills, page.notice, *wiring.controls]

    def full(
        event: gr.EventData,
        request: gr.Request,
        watched: str | None,
        undo: str | None,
        limit: int,
        stills: Stills,
        *values: Any,
    ) -> tuple[Any, ...]:
        """Starts the clip; the form then says what it is made with."""
        try:
            job = wiring.actions.full_tile(str(event.id), int(event.at), request)
        except SvdUiError as error:
            unchanged = (gr.skip() for _ in (*wiring.view, *wiring.controls))
            return watched, gr.skip(), wiring.said(error), *unchanged
        still, _, *controls = wiring.restore(job.request, stills, wiring.values(values))
        return job.id, still, "", *controls, *wiring.show(job.id, request, undo, limit)

    inputs = [*wiring.looking, page.stills, *wiring.controls]
    page.stage.full(full, inputs, [page.watched, *dials, *wiring.view], **QUIET).then(
        None, js="() => svdui.submitted()", **QUIET
    ).then(**wiring.keep())

    def use(event: gr.EventData, stills: Stills, *values: Any) -> tuple[Any, ...]:
        try:
            request = wiring.actions.dials_of_tile(str(event.id), int(event.at))
            text = f"Dials set to seed {request.seed} and motion {request.motion_bucket_id}."
            return wiring.restore(request, stills, wiring.values(values), text=text)
        except SvdUiError as error:
            return gr.skip(), wiring.said(error), *(gr.skip() for _ in wiring.controls)

    page.stage.dials(use, [page.stills, *wiring.controls], dials, **QUIET).then(**wiring.keep())


def loras(wiring: Wiring) -> None:
    page, held = wiring.page, wiring.form.controls["loras"]

    def choose(event: gr.EventData, text: str) -> str:
        return toggled(text, str(event.name))

    def weigh(event: gr.EventData, text: str) -> str:
        return weighed(text, str(event.name), float(event.weight))

    page.loras.choose(choose, held, held, **QUIET).then(**wiring.keep())
    page.loras.weigh(weigh, held, held, trigger_mode="always_last", **QUIET).then(**wiring.keep())
