"""The Train tab: where its pieces stand, and which event calls which action. A view over ``svd_ui.finetune``.

It writes into the data folder and starts processes, so it exists only where no stranger can reach it. A timer looks
while the tab is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr

from ...finetune import TrainRequest
from ..context import Context
from ..controls import hint
from ..formatting import html, notice
from ..page import SECRET, Changes, Given, Page
from . import views
from .actions import COLLECTION, FIELDS, TrainActions

TABS_JS = "svdui.tabs(element, trigger)  /* 'train' 'animate' */"
DOOR_JS = "svdui.clipsDoor(element, trigger, upload)  /* 'take' */"
RUNS_JS = "svdui.runs(element, trigger, watch)  /* 'stop' 'resume' 'remove' 'use' */"

SEEN = ("name", "checkpoint", "method", "targets")
ROW = ("rank", "steps", "learning_rate")
ELSEWHERE = {"data", "out"}
"""Fields the page fills itself: clips by their name, the result where the app finds it."""
LINES = ("name", "licence", "note")
UNSEEN = ("", "", "")
"""Marks of what the page shows and a tick may change (``Tab.look``), before it shows anything."""


def tabs() -> gr.HTML:
    """The switch in the page's head."""
    return gr.HTML(html("train/tabs"), elem_id="tabs", js_on_load=TABS_JS)


def layout(switch: gr.HTML, context: Context) -> Page:
    """The tab's pieces, none of them in the document until the tab is first opened."""
    page, actions = Page(lambda: context.remote, partial(context.require_operator, what="train")), TrainActions(context)
    page.add("tabs", switch)
    page.add("kept", gr.BrowserState(None, storage_key="svd-ui-training", secret=SECRET))
    page.add("timer", gr.Timer(1.5, active=False))
    page.add("seen", gr.State(UNSEEN))
    with page.add("root", gr.Row(elem_id="train", equal_height=False, visible=False)):
        with gr.Column(elem_id="train-left", scale=5, min_width=320):
            _clips_card(page)
            _settings_card(page, actions)
            with gr.Column(elem_id="train-bar"):
                page.notice("notice", "train-notice")
                page.add("start", gr.Button("Start training", variant="primary", elem_id="train-start", size="lg"))
                page.add("cost", gr.HTML("", elem_id="train-cost", js_on_load=None))
        with gr.Column(elem_id="train-right", scale=6, min_width=320):
            page.add("looked", gr.HTML("", elem_id="looked", js_on_load=None))
            page.add("runs", gr.HTML("", elem_id="runs", js_on_load=RUNS_JS))
            page.notice("runs_notice", "runs-notice")
    return page


def _clips_card(page: Page) -> None:
    with gr.Column(elem_id="clips-card", elem_classes=["train-card"]):
        named: dict[str, Any] = {
            "label": FIELDS.label("data"),
            "info": "Added clips are saved under this name.",
            "max_length": 80,
        }
        box = gr.Textbox(COLLECTION, elem_id="train-collection", elem_classes=["dial"], **named)
        page.control("collection", box, checked=False)
        earlier: dict[str, Any] = {
            "label": "Saved clips",
            "show_label": False,
            "visible": False,
            "elem_classes": ["chips"],
        }
        page.add("earlier", gr.Radio([], elem_id="train-earlier", **earlier))
        page.add("door", gr.HTML("", elem_id="clips-door", js_on_load=DOOR_JS))
        page.add("look", gr.Button("Check clips", elem_id="train-look", size="md"))
        page.notice("clips_notice", "clips-notice")


def _settings_card(page: Page, actions: TrainActions) -> None:
    with gr.Column(elem_id="train-dials", elem_classes=["train-card"]):
        for name in SEEN:
            _field(page, name, actions)
        with gr.Row(elem_classes=["dials-row"]):
            for name in ROW:
                _field(page, name, actions, info=None, kind=gr.Number, min_width=96)
        with gr.Accordion("Advanced", open=False, elem_classes=["advanced"], elem_id="train-advanced"):
            rest = [name for name in FIELDS.fields if name not in {*SEEN, *ROW, *ELSEWHERE}]
            numbers = [name for name in rest if FIELDS[name].is_number]
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
        usual = actions.context.row("auto").id
        first = usual if usual in [id for _, id in bases] else bases[0][1] if bases else None
        extra |= {"choices": bases, "kind": gr.Radio, "value": first}
    if FIELDS[name].choices or name == "checkpoint":
        extra |= {"elem_classes": ["chips", "dial"]}
    if name in LINES:
        extra |= {"lines": 1}
    page.control(name, FIELDS.control(name, **extra))


# What the pieces do

CLIPS, VIEW = ("door", "earlier"), ("looked", "runs", "door", "seen")
HINTED = ("width", "height", "num_frames", "alpha")
TRIED = {"checkpoint": "animate.checkpoint", "loras": "animate.loras"}
"""What ``Try it`` sets on the Animate side, by the names those controls have here."""


def wire(page: Page, animate: Page, context: Context) -> None:
    """Attach every handler of the tab."""
    for name, here in TRIED.items():
        page.add(here, animate[name])
    tab = Tab(page, context)
    if context.settings.has_accounts:
        _for_operators(animate, page["tabs"], context)
    _opening(tab)
    _clips(tab)
    _running(tab)
    _using(tab, animate)


def _for_operators(animate: Page, tabs: gr.HTML, context: Context) -> None:
    """Who may not train is not shown the way there; the handlers refuse whoever finds it."""
    animate.add("tabs", tabs)

    def show(given: Given) -> Changes:
        return {"tabs": gr.update(visible=context.who(given.request).operates)}

    animate.on([animate["root"].load], show, (), ("tabs",))


class Tab:
    """What several handlers share. ``form`` is the tab's, the collection's name with it."""

    def __init__(self, page: Page, context: Context) -> None:
        self.page, self.context, self.actions = page, context, TrainActions(context)

    def look(self, form: Mapping[str, Any], seen: Any) -> Changes:
        """Changes ``VIEW``; what did not change is not sent again."""
        collection = form["collection"]
        now = {
            "looked": self.actions.looked(collection, form),
            "runs": self.actions.listed(),
            "door": self.actions.door(collection),
        }
        marks = tuple(str(hash(html)) for html in now.values())
        fresh = {name: now[name] for name, mark, old in zip(now, marks, seen, strict=True) if mark != old}
        return {**fresh, "seen": marks}

    def chosen(self, collection: str) -> Changes:
        """Changes ``CLIPS``."""
        names = self.actions.clips.names()
        at = collection if collection in names else None
        return {
            "door": self.actions.door(collection),
            "earlier": gr.update(choices=names, value=at, visible=bool(set(names) - {collection})),
        }

    def cost(self, form: Mapping[str, Any]) -> Changes:
        """The cost, and what blank fields mean with the checkpoint that is chosen."""
        row = self.context.row(form["checkpoint"] or "auto")
        known = {"width": row.width, "height": row.height, "num_frames": row.num_frames, "alpha": form["rank"]}
        cost = views.cost(self.actions.cost(form, form["collection"]), self.context.device())
        return {"cost": cost, **{name: gr.update(placeholder=hint(name, known[name])) for name in HINTED}}

    def kept(self, stored: Any, bases: list[str]) -> dict[str, Any]:
        """Values by name: what the browser kept where it fits, else what the controls began with."""
        begun = {name: control.value for name, control in self.page.form.items()}
        values = self.page.kept(TrainRequest, stored, begun, bases)
        known = (id for id in (values["checkpoint"], begun["checkpoint"], *bases) if id in bases)
        values["checkpoint"] = next(known, None)
        return {**values, "collection": values["collection"] or COLLECTION}


def _opening(tab: Tab) -> None:
    page = tab.page

    def show(given: Given) -> Changes:
        bases = tab.actions.bases()
        values = tab.kept(given["kept"], [id for _, id in bases])
        cost = tab.cost(values)
        hints = {name: {**cost[name], "value": values[name]} for name in HINTED}
        return {
            **values,
            **cost,
            **hints,
            **tab.chosen(values["collection"]),
            **tab.look(values, UNSEEN),
            "checkpoint": gr.update(choices=bases, value=values["checkpoint"]),
            "root": gr.update(visible=True),
            "timer": gr.Timer(active=True),
        }

    writes = ("root", "timer", "cost", *page.form, "earlier", *VIEW)
    page.on(page["tabs"].train, show, ("kept",), writes)
    page.on(page["tabs"].animate, lambda given: {"timer": gr.Timer(active=False)}, (), ("timer",))
    page.on(page["timer"].tick, lambda given: tab.look(given.form, given["seen"]), ("seen", *page.form), VIEW)
    changes = [control.change for name, control in page.form.items() if name != "collection"]
    writes = ("cost", *HINTED)
    page.on(changes, lambda given: tab.cost(given.form), tuple(page.form), writes, trigger_mode="always_last")
    gr.on([control.input for control in page.form.values()], **page.keeping())


def _clips(tab: Tab) -> None:
    page, name = tab.page, ("collection",)

    def take(given: Given) -> Changes:
        left = tab.actions.take(given.event.files(), given["collection"])
        return {**tab.chosen(given["collection"]), "notice": notice(left)}

    page.on(page["door"].take, take, name, (*CLIPS, "notice"), fields=True, says="clips_notice")
    page.on(page["earlier"].input, lambda given: {"collection": given["earlier"]}, ("earlier",), name)
    page.on(
        page["collection"].change,
        lambda given: tab.chosen(given["collection"]),
        name,
        CLIPS,
        trigger_mode="always_last",
    )
    look = _act(tab, lambda given: tab.actions.look(given["collection"], given.form))
    reads, writes, bring = ("seen", *page.form), ("notice", *VIEW), "() => svdui.bring('#looked')"
    page.on(page["look"].click, look, reads, writes, fields=True, says="clips_notice", then=bring)


def _act(tab: Tab, action: Callable[[Given], None]) -> Callable[[Given], Changes]:
    """``action``, then what it changed."""

    def handler(given: Given) -> Changes:
        action(given)
        return tab.look(given.form, given["seen"])

    return handler


def _running(tab: Tab) -> None:
    page, actions = tab.page, tab.actions
    reads, writes = ("seen", *page.form), ("notice", *VIEW)
    start = _act(tab, lambda given: actions.start(given.form, given["collection"]))
    page.on(page["start"].click, start, reads, writes, fields=True, then="() => svdui.started()")
    runs = page["runs"]
    does = {runs.stop: actions.runs.stop, runs.resume: actions.resume, runs.remove: actions.runs.delete}
    for event, action in does.items():
        act = _act(tab, lambda given, action=action: action(given.event.text("id")))  # type: ignore[misc]
        page.on(event, act, reads, writes, fields=True, says="runs_notice")


def _using(tab: Tab, animate: Page) -> None:
    """``Try it``: the Animate side with what a run made."""

    def use(given: Given) -> Changes:
        values = tab.actions.use(given.event.text("id"))
        choices = tab.context.checkpoint_choices(values["checkpoint"])
        return {
            TRIED["checkpoint"]: gr.update(value=values["checkpoint"], choices=choices),
            TRIED["loras"]: values["loras"],
        }

    writes = (*TRIED.values(), "notice")
    tab.page.on(tab.page["runs"].use, use, (), writes, says="runs_notice", then="() => svdui.tried()", keep=animate)
