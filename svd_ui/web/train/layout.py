"""The layout of the Train tab, and the tabs themselves. What the pieces do is in ``wiring.py``."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from ...finetune import TrainRequest
from ...migration import renamed
from .. import formatting, icons
from ..animate.form import Form, plausible
from . import views
from .actions import COLLECTION, ENDINGS, FIELDS, MAX_FILES, Actions

TABS = (
    '<div class="tabs" role="tablist" aria-label="Parts of the page">'
    '<button type="button" role="tab" id="tab-animate" aria-controls="main" aria-selected="true" data-tab="animate">Animate</button>'
    '<button type="button" role="tab" id="tab-train" aria-controls="train" aria-selected="false" tabindex="-1" data-tab="train">'
    "Train</button></div>"
)
TABS_JS = "svdui.tabs(element, trigger)  /* 'train' 'animate' */"
DOOR_JS = "svdui.clipsDoor(element, trigger, upload)  /* 'take' */"

SEEN = ("name", "checkpoint", "method", "targets")
ROW = ("rank", "steps", "learning_rate")
ELSEWHERE = {"data", "out"}
"""Fields the page fills itself: clips by their name, the result where the app finds it."""
KEPT_COLLECTION = "collection"
LINES = ("name", "licence", "note")


@dataclass
class Tab:
    """The pieces that handlers read and write."""

    tabs: gr.HTML
    root: gr.Row
    kept: gr.BrowserState
    form: Form
    actions: Actions
    timer: gr.Timer
    earlier: gr.Radio
    collection: gr.Textbox
    door: gr.HTML
    look: gr.Button
    cost: gr.HTML
    notice: gr.HTML
    start: gr.Button
    looked: gr.HTML
    runs: gr.HTML


def tabs() -> gr.HTML:
    """The switch in the page's head."""
    return gr.HTML(TABS, elem_id="tabs", js_on_load=TABS_JS)


def layout(switch: gr.HTML, actions: Actions, secret: str) -> Tab:
    """The tab's pieces, none of them in the document until the tab is first opened."""
    form = Form()
    kept = gr.BrowserState(None, storage_key="svd-ui-training", secret=secret)
    timer = gr.Timer(1.5, active=False)
    with gr.Row(elem_id="train", equal_height=False, visible=False) as root:
        with gr.Column(elem_id="train-left", scale=5, min_width=320):
            with gr.Column(elem_id="clips-card", elem_classes=["train-card"]):
                collection = gr.Textbox(
                    COLLECTION,
                    label=FIELDS.label("data"),
                    info="Files you add are kept under this name.",
                    max_length=80,
                    elem_id="train-collection",
                    elem_classes=["dial"],
                )
                earlier = gr.Radio(
                    [],
                    label="Earlier",
                    show_label=False,
                    visible=False,
                    elem_classes=["chips"],
                    elem_id="train-earlier",
                )
                door = gr.HTML("", elem_id="clips-door", js_on_load=DOOR_JS)
                look = gr.Button("Look through", elem_id="train-look", size="md")
            _dials(form, actions)
            with gr.Column(elem_id="train-bar"):
                notice = gr.HTML("", elem_id="train-notice", js_on_load=None)
                start = gr.Button("Start training", variant="primary", elem_id="train-start", size="lg")
                cost = gr.HTML("", elem_id="train-cost", js_on_load=None)
        with gr.Column(elem_id="train-right", scale=6, min_width=320):
            looked = gr.HTML("", elem_id="looked", js_on_load=None)
            runs = gr.HTML("", elem_id="runs", js_on_load=views.EVENTS_JS)
    clips: dict[str, Any] = {"earlier": earlier, "collection": collection, "door": door, "look": look}
    rest: dict[str, Any] = {"cost": cost, "notice": notice, "start": start, "looked": looked, "runs": runs}
    return Tab(tabs=switch, root=root, kept=kept, form=form, actions=actions, timer=timer, **clips, **rest)


def _dials(form: Form, actions: Actions) -> None:
    with gr.Column(elem_id="train-dials", elem_classes=["train-card"]):
        for name in SEEN:
            _add(form, name, actions)
        with gr.Row(elem_classes=["dials-row"]):
            for name in ROW:
                _add(form, name, actions, info=None, kind=gr.Number, min_width=96)
        with gr.Accordion("Advanced", open=False, elem_classes=["advanced"], elem_id="train-advanced"):
            rest = [name for name in FIELDS.fields if name not in {*SEEN, *ROW, *ELSEWHERE}]
            numbers = [name for name in rest if FIELDS.value_type(name)[0] in {int, float}]
            for pair in zip(numbers[::2], [*numbers[1::2], ""], strict=False):
                with gr.Row(elem_classes=["dials-row"]):
                    for name in filter(None, pair):
                        _add(form, name, actions, kind=gr.Number, min_width=140)
            for name in rest:
                if name not in numbers:
                    _add(form, name, actions)


def _add(form: Form, name: str, actions: Actions, **extra: object) -> None:
    if name == "checkpoint":
        bases = actions.bases()
        usual = actions.base("auto").id
        first = usual if usual in [id for _, id in bases] else bases[0][1] if bases else None
        extra |= {"choices": bases, "kind": gr.Radio, "value": first}
    if FIELDS.chosen(name) or name == "checkpoint":
        extra |= {"elem_classes": ["chips", "dial"]}
    if name in LINES:
        extra |= {"lines": 1}
    if extra.get("kind") is gr.Number:
        extra |= {"precision": 0 if FIELDS.value_type(name)[0] is int else None}
    form.add(name, FIELDS.dial(name, **extra))  # type: ignore[arg-type]


def kept_values(tab: Tab, stored: Any, bases: list[str]) -> tuple[str, dict[str, Any]]:
    """(collection, values by name): what the browser kept where it fits, else what the controls began with."""
    stored = renamed(TrainRequest, stored) if isinstance(stored, dict) else {}
    values = {name: control.value for name, control in tab.form.controls.items()}
    for name, control in tab.form.controls.items():
        if name in stored and name != "checkpoint" and plausible(control, stored[name]):
            values[name] = stored[name]
    if stored.get("checkpoint") in bases:
        values["checkpoint"] = stored["checkpoint"]
    if values["checkpoint"] not in bases:
        values["checkpoint"] = bases[0] if bases else None
    collection = stored.get(KEPT_COLLECTION)
    return collection if isinstance(collection, str) and collection else COLLECTION, values


def door(max_mb: int, collection: str, count: int) -> str:
    """Where clips come in, and how many there are."""
    have = f"<b>{count} {'file' if count == 1 else 'files'}</b> in {escape(collection)}. " if count else ""
    return (
        f'<div class="door" data-max-mb="{max_mb}" data-max-files="{MAX_FILES}">'
        f'<input type="file" multiple accept="{",".join(ENDINGS)}" tabindex="-1" aria-label="Clips to train on">'
        f'<div class="door-in">{icons.CLIP}<p class="door-lead">Drop clips here</p><div class="acts">'
        f'<button type="button" class="btn strong" data-choose="1">{"Add clips" if count else "Choose clips"}</button></div>'
        f'<p class="quiet">{have}mp4, webm, gif or webp, up to {formatting.size(max_mb * formatting.MB)} each.</p></div>'
        '<p class="door-busy" role="status"></p></div>'
    )
