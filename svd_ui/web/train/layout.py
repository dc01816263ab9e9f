"""The layout of the Train tab, and the tabs themselves. What the pieces do is in ``events``."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..context import Context
from ..formatting import html
from ..page import SECRET, Page
from .actions import COLLECTION, FIELDS, TrainActions

TABS_JS = "svdui.tabs(element, trigger)  /* 'train' 'animate' */"
DOOR_JS = "svdui.clipsDoor(element, trigger, upload)  /* 'take' */"
RUNS_JS = "svdui.runs(element, trigger, watch)  /* 'stop' 'resume' 'remove' 'use' */"

SEEN = ("name", "checkpoint", "method", "targets")
ROW = ("rank", "steps", "learning_rate")
ELSEWHERE = {"data", "out"}
"""Fields the page fills itself: clips by their name, the result where the app finds it."""
LINES = ("name", "licence", "note")


def tabs() -> gr.HTML:
    """The switch in the page's head."""
    return gr.HTML(html("train/tabs"), elem_id="tabs", js_on_load=TABS_JS)


def layout(switch: gr.HTML, context: Context) -> Page:
    """The tab's pieces, none of them in the document until the tab is first opened."""
    page, actions = Page(context.remote, repeat=False), TrainActions(context)
    page.add("tabs", switch)
    page.add("kept", gr.BrowserState(None, storage_key="svd-ui-training", secret=SECRET))
    page.add("timer", gr.Timer(1.5, active=False))
    page.add("seen", gr.State(("", "")))
    with page.add("root", gr.Row(elem_id="train", equal_height=False, visible=False)):
        with gr.Column(elem_id="train-left", scale=5, min_width=320):
            _clips(page)
            _settings(page, actions)
            with gr.Column(elem_id="train-bar"):
                page.add("notice", gr.HTML("", elem_id="train-notice", js_on_load=None))
                page.add("start", gr.Button("Start training", variant="primary", elem_id="train-start", size="lg"))
                page.add("cost", gr.HTML("", elem_id="train-cost", js_on_load=None))
        with gr.Column(elem_id="train-right", scale=6, min_width=320):
            page.add("looked", gr.HTML("", elem_id="looked", js_on_load=None))
            page.add("runs", gr.HTML("", elem_id="runs", js_on_load=RUNS_JS))
    return page


def _clips(page: Page) -> None:
    with gr.Column(elem_id="clips-card", elem_classes=["train-card"]):
        named: dict[str, Any] = {
            "label": FIELDS.label("data"),
            "info": "Files you add are kept under this name.",
            "max_length": 80,
        }
        box = gr.Textbox(COLLECTION, elem_id="train-collection", elem_classes=["dial"], **named)
        page.control("collection", box, checked=False)
        earlier: dict[str, Any] = {"label": "Earlier", "show_label": False, "visible": False, "elem_classes": ["chips"]}
        page.add("earlier", gr.Radio([], elem_id="train-earlier", **earlier))
        page.add("door", gr.HTML("", elem_id="clips-door", js_on_load=DOOR_JS))
        page.add("look", gr.Button("Look through", elem_id="train-look", size="md"))


def _settings(page: Page, actions: TrainActions) -> None:
    with gr.Column(elem_id="train-dials", elem_classes=["train-card"]):
        for name in SEEN:
            _field(page, name, actions)
        with gr.Row(elem_classes=["dials-row"]):
            for name in ROW:
                _field(page, name, actions, info=None, kind=gr.Number, min_width=96)
        with gr.Accordion("Advanced", open=False, elem_classes=["advanced"], elem_id="train-advanced"):
            rest = [name for name in FIELDS.fields if name not in {*SEEN, *ROW, *ELSEWHERE}]
            numbers = [name for name in rest if FIELDS.value_type(name)[0] in {int, float}]
            for pair in zip(numbers[::2], [*numbers[1::2], ""], strict=False):
                with gr.Row(elem_classes=["dials-row"]):
                    for name in filter(None, pair):
                        _field(page, name, actions, kind=gr.Number, min_width=140)
            for name in rest:
                if name not in numbers:
                    _field(page, name, actions)


def _field(page: Page, name: str, actions: TrainActions, **extra: Any) -> None:
    """The control of a field of a run."""
    if name == "checkpoint":
        bases = actions.bases()
        usual = actions.base("auto").id
        first = usual if usual in [id for _, id in bases] else bases[0][1] if bases else None
        extra |= {"choices": bases, "kind": gr.Radio, "value": first}
    if FIELDS.chosen(name) or name == "checkpoint":
        extra |= {"elem_classes": ["chips", "dial"]}
    if name in LINES:
        extra |= {"lines": 1}
    page.control(name, FIELDS.control(name, **extra))
