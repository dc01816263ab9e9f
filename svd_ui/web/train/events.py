"""Which event of the Train tab calls which action. Quick handlers; a timer looks while the tab is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from ...finetune import TrainRequest
from ...migration import renamed
from ..animate.form_view import checkpoint_choices
from ..context import Context
from ..controls import hint
from ..page import Changes, Given, Page, plausible, stored_values
from . import views
from .actions import COLLECTION, ENDINGS, MAX_FILES, TrainActions

CLIPS, VIEW = ("door", "earlier"), ("looked", "runs", "seen")
HINTED = ("width", "height", "num_frames", "alpha")
TRIED = {"checkpoint": "animate.checkpoint", "loras": "animate.loras"}
"""What ``Try it`` sets on the Animate side, by the names those controls have here."""


def wire(page: Page, animate: Page, context: Context) -> None:
    """Attach every handler of the tab."""
    for name, here in TRIED.items():
        page.add(here, animate[name])
    tab = Tab(page, context)
    _opening(tab)
    _clips(tab)
    _running(tab)
    _using(tab, animate)


class Tab:
    """What several handlers share. ``form`` is the tab's, the collection's name with it."""

    def __init__(self, page: Page, context: Context) -> None:
        self.page, self.context, self.actions = page, context, TrainActions(context)

    def look(self, form: Mapping[str, Any], seen: Any) -> Changes:
        """Changes ``VIEW``; what did not change is not sent again."""
        now = {"looked": self.actions.looked(form["collection"], form), "runs": self.actions.listed()}
        marks = tuple(str(hash(html)) for html in now.values())
        fresh = {name: now[name] for name, mark, old in zip(now, marks, seen, strict=True) if mark != old}
        return {**fresh, "seen": marks}

    def chosen(self, collection: str) -> Changes:
        """Changes ``CLIPS``."""
        names, count = self.actions.collections(), self.actions.count(collection)
        at = collection if collection in names else None
        return {
            "door": views.door(self.context.settings.max_upload_mb, collection, count, MAX_FILES, ENDINGS),
            "earlier": gr.update(choices=names, value=at, visible=bool(set(names) - {collection})),
        }

    def cost(self, form: Mapping[str, Any]) -> Changes:
        """The cost, and what blank fields mean with the checkpoint that is chosen."""
        row = self.actions.base(form["checkpoint"] or "auto")
        known = {"width": row.width, "height": row.height, "num_frames": row.num_frames, "alpha": form["rank"]}
        cost = views.cost(self.actions.cost(form, form["collection"]), self.context.device())
        return {"cost": cost, **{name: gr.update(placeholder=hint(name, known[name])) for name in HINTED}}

    def kept(self, stored: Any, bases: list[str]) -> dict[str, Any]:
        """Values by name: what the browser kept where it fits, else what the controls began with."""
        kept = renamed(TrainRequest, stored_values(stored))
        values = {name: control.value for name, control in self.page.form.items()}
        for name, control in self.page.form.items():
            if name in kept and name != "checkpoint" and plausible(control, kept[name]):
                values[name] = kept[name]
        if kept.get("checkpoint") in bases:
            values["checkpoint"] = kept["checkpoint"]
        if values["checkpoint"] not in bases:
            values["checkpoint"] = bases[0] if bases else None
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
            **tab.look(values, ("", "")),
            "checkpoint": gr.update(choices=bases, value=values["checkpoint"]),
            "root": gr.update(visible=True),
            "timer": gr.Timer(active=True),
        }

    writes = ("root", "timer", "cost", *page.form, *CLIPS, *VIEW)
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
        tab.actions.take(list(given.event.files or []), given["collection"])
        return tab.chosen(given["collection"])

    page.on(page["door"].take, take, name, (*CLIPS, "notice"), fields=True)
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
    page.on(page["look"].click, look, reads, writes, fields=True, then=bring)


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
    for event, action in ((runs.stop, actions.stop), (runs.resume, actions.resume), (runs.remove, actions.remove)):
        act = _act(tab, lambda given, action=action: action(str(given.event.id)))  # type: ignore[misc]
        page.on(event, act, reads, writes, fields=True)


def _using(tab: Tab, animate: Page) -> None:
    """``Try it``: the Animate side with what a run made."""

    def use(given: Given) -> Changes:
        values = tab.actions.use(str(given.event.id))
        choices = checkpoint_choices(tab.context)
        return {
            TRIED["checkpoint"]: gr.update(value=values["checkpoint"], choices=choices),
            TRIED["loras"]: values["loras"],
        }

    writes = (*TRIED.values(), "notice")
    tab.page.on(tab.page["runs"].use, use, (), writes, then="() => svdui.tried()", keep=animate)
