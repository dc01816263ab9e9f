"""Which event of the Train tab calls which action. Quick handlers; a timer looks while the tab is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from ...errors import SvdUiError
from ..animate.form import field_of, field_updates, notice
from ..animate.wiring import QUIET, keeping
from ..context import Context
from ..controls import hint
from ..visitor import said
from . import costs
from .layout import KEPT_COLLECTION, Tab, door, kept_values

if TYPE_CHECKING:
    from ..animate.wiring import Wiring

HINTED = ("width", "height", "num_frames", "alpha")


class Training:
    """Holds the pieces and the outputs that several handlers share."""

    def __init__(self, tab: Tab, context: Context) -> None:
        self.tab, self.context, self.actions = tab, context, tab.actions
        self.names = list(tab.form.controls)
        self.controls = list(tab.form.controls.values())
        self.seen = gr.State(("", ""))
        self.asked = [tab.collection, *self.controls]
        self.view = [tab.looked, tab.runs, self.seen]
        self.clips = [tab.door, tab.earlier]
        self.messages = [tab.form.controls[name] for name in tab.form.checked]

    def values(self, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.names, values, strict=True))

    def look(self, collection: str, values: dict[str, Any], seen: tuple[str, str] | list[str]) -> tuple[Any, ...]:
        """Outputs ``self.view``; what did not change is not sent again."""
        now = (self.actions.looked(collection, values), self.actions.listed())
        marks = tuple(str(hash(html)) for html in now)
        return *(gr.skip() if mark == old else html for html, mark, old in zip(now, marks, seen, strict=True)), marks

    def chosen(self, collection: str) -> tuple[Any, ...]:
        """Outputs ``self.clips``."""
        names = self.actions.collections()
        at = collection if collection in names else None
        html = door(self.context.settings.max_upload_mb, collection, self.actions.count(collection))
        return html, gr.update(choices=names, value=at, visible=bool(set(names) - {collection}))

    def cost(self, collection: str, values: dict[str, Any]) -> str:
        return costs.render(self.actions.cost(values, collection), self.context.device())

    def told(self, error: SvdUiError | None) -> tuple[Any, ...]:
        """Outputs (notice, *messages): at the field at fault where it can show it, else above the button."""
        if error is None:
            return "", *field_updates(None, self.tab.form)
        text = said(error.to_dict(), self.context.remote) if field_of(error, self.tab.form) is None else ""
        return notice(text), *field_updates(error, self.tab.form)


def wire(training: Training, animate: Wiring) -> None:
    """Attach every handler of the tab."""
    _opening(training)
    _clips(training)
    _running(training)
    _using(training, animate)


def _opening(training: Training) -> None:
    tab = training.tab

    def show(kept: Any) -> tuple[Any, ...]:
        bases = training.actions.bases()
        collection, values = kept_values(tab, kept, [id for _, id in bases])
        return (
            gr.update(visible=True), gr.Timer(active=True), collection, *values.values(), *training.chosen(collection),
            gr.update(choices=bases), training.cost(collection, values), *_hints(training, values),
            *training.look(collection, values, ("", "")),
        )  # fmt: skip

    hinted = [tab.form.controls[name] for name in HINTED]
    outputs = [
        tab.root, tab.timer, *training.asked, *training.clips, tab.form.controls["checkpoint"], tab.cost, *hinted,
        *training.view,
    ]  # fmt: skip
    tab.tabs.train(show, tab.kept, outputs, **QUIET)
    tab.tabs.animate(lambda: gr.Timer(active=False), None, tab.timer, **QUIET)

    def tick(seen: Any, collection: str, *values: Any) -> tuple[Any, ...]:
        return training.look(collection, training.values(values), seen)

    tab.timer.tick(tick, [training.seen, *training.asked], training.view, **QUIET)

    def changed(collection: str, *values: Any) -> tuple[Any, ...]:
        given = training.values(values)
        return training.cost(collection, given), *_hints(training, given)

    events = [control.change for control in training.controls]
    gr.on(events, changed, training.asked, [tab.cost, *hinted], trigger_mode="always_last", **QUIET)
    names = [KEPT_COLLECTION, *training.names]
    gr.on([control.input for control in training.asked], **keeping(names, training.asked, tab.kept))


def _hints(training: Training, values: dict[str, Any]) -> tuple[Any, ...]:
    """What blank fields mean with the checkpoint that is chosen."""
    row = training.actions.base(values["checkpoint"] or "auto")
    known = {"width": row.width, "height": row.height, "num_frames": row.num_frames, "alpha": values["rank"]}
    return tuple(gr.update(placeholder=hint(name, known[name])) for name in HINTED)


def _clips(training: Training) -> None:
    tab, actions = training.tab, training.actions

    def take(event: gr.EventData, collection: str) -> tuple[Any, ...]:
        try:
            actions.take(list(event.files or []), collection)
        except SvdUiError as error:
            return *training.chosen(collection), *training.told(error)
        return *training.chosen(collection), *training.told(None)

    tab.door.take(take, tab.collection, [*training.clips, tab.notice, *training.messages], **QUIET)
    tab.earlier.input(lambda name: name, tab.earlier, tab.collection, **QUIET)
    tab.collection.change(training.chosen, tab.collection, training.clips, trigger_mode="always_last", **QUIET)

    def look(seen: Any, collection: str, *values: Any) -> tuple[Any, ...]:
        given = training.values(values)
        try:
            actions.look(collection, given)
        except SvdUiError as error:
            return *training.told(error), *training.look(collection, given, seen)
        return *training.told(None), *training.look(collection, given, seen)

    outputs = [tab.notice, *training.messages, *training.view]
    tab.look.click(look, [training.seen, *training.asked], outputs, **QUIET).then(
        None, js="() => svdui.bring('#looked')", **QUIET
    )


def _running(training: Training) -> None:
    tab, actions = training.tab, training.actions
    told = [tab.notice, *training.messages]

    def start(seen: Any, collection: str, *values: Any) -> tuple[Any, ...]:
        given = training.values(values)
        try:
            actions.start(given, collection)
        except SvdUiError as error:
            return *training.told(error), *training.look(collection, given, seen)
        return *training.told(None), *training.look(collection, given, seen)

    tab.start.click(start, [training.seen, *training.asked], [*told, *training.view], **QUIET).then(
        None, js="() => svdui.started()", **QUIET
    )

    def act(action: Callable[[str], None]) -> Callable[..., tuple[Any, ...]]:
        def handler(event: gr.EventData, seen: Any, collection: str, *values: Any) -> tuple[Any, ...]:
            error: SvdUiError | None = None
            try:
                action(str(event.id))
            except SvdUiError as caught:
                error = caught
            return *training.told(error), *training.look(collection, training.values(values), seen)

        return handler

    inputs, outputs = [training.seen, *training.asked], [*told, *training.view]
    tab.runs.stop(act(actions.stop), inputs, outputs, **QUIET)
    tab.runs.resume(act(actions.resume), inputs, outputs, **QUIET)
    tab.runs.remove(act(actions.remove), inputs, outputs, **QUIET)


def _using(training: Training, animate: Wiring) -> None:
    """``Try it``: the Animate side with what a run made."""
    from ..animate.form_view import checkpoint_choices

    controls = animate.form.controls

    def use(event: gr.EventData) -> tuple[Any, ...]:
        try:
            values = training.actions.use(str(event.id))
        except SvdUiError as error:
            return gr.skip(), gr.skip(), training.told(error)[0]
        choices = checkpoint_choices(training.context)
        return gr.update(value=values["checkpoint"], choices=choices), values["loras"], ""

    outputs = [controls["checkpoint"], controls["loras"], training.tab.notice]
    training.tab.runs.use(use, None, outputs, **QUIET).success(None, js="() => svdui.tried()", **QUIET).then(
        **animate.keep()
    )
