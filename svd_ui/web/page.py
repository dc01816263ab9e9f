"""A page's components by name, and the handlers between them.

A handler is given what it reads by name and returns what changes by name; where a component stands, and in which order
gradio lists it, is nobody's business but ``layout``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import BaseModel

from ..catalog.registry import one_look
from ..errors import BadInput, SvdUiError
from ..migration import renamed
from ..request import SCHEMA_VERSION
from .formatting import notice
from .visitor import said

SECRET = "svd-ui"  # fixed, so that a restart of the app does not lose what the browser kept
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
LASTING: dict[str, Any] = {**QUIET, "queue": True, "concurrency_limit": 16, "concurrency_id": "works"}
"""Of an event that works itself, fewer at once than there are threads for all handlers. Only through the queue gradio hands on on whose behalf ZeroGPU may lend a GPU."""
MOST_TEXT = 20_000
"""Of a control that sets no limit itself."""
MOST_NUMBER = 2**53
Changes = dict[str, Any]
"""Component's name => its new value or ``gr.update``."""


FORGED = "This page does not fit the app any more: reload it."


class Clicked:
    """What an event of the page tells. One of a page of another release, or of no page at all, is refused: BadInput."""

    def __init__(self, event: gr.EventData) -> None:
        told = event._data
        self._told: Mapping[str, Any] = told if isinstance(told, dict) else {}

    def text(self, name: str) -> str:
        """Blank where nothing is told."""
        value = self._told.get(name)
        if value is not None and not isinstance(value, str | int):
            raise BadInput(FORGED)
        return "" if value is None else str(value)[:MOST_TEXT]

    def number(self, name: str) -> float:
        """Also as text, which is what an input of a page holds."""
        with suppress(TypeError, ValueError, OverflowError):
            value = float(self._told.get(name, ""))
            if abs(value) < MOST_NUMBER:
                return value
        raise BadInput(FORGED)

    def whole(self, name: str) -> int:
        return int(self.number(name))

    def several(self, name: str) -> list[Any]:
        """Nothing told is none."""
        value = self._told.get(name)
        return value if isinstance(value, list) else []

    def files(self) -> list[dict[str, Any]]:
        """Uploads as gradio names them."""
        return [one for one in self.several("files") if isinstance(one, dict)]


@dataclass(frozen=True)
class Given:
    """What a handler reads: the values of components by name, who asks, and what was clicked."""

    values: Mapping[str, Any]
    form: Mapping[str, Any]
    request: gr.Request
    event: Clicked

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class Page:
    """Named components. Those of ``form`` are controls: a visitor sets them and the browser keeps them, in this order.

    ``remote`` visitors are not told about the server's folders; ``gate`` raises a SvdUiError for those no handler is for. What a handler says stands beside what was clicked, in one
    of ``notices``, and nowhere else. ``works`` is called after each event that may have started a job, where jobs run in events. ``help`` gives, for the form's values, the help of controls that depends on them, by
    name.
    """

    def __init__(self, remote: bool | Callable[[], bool], gate: Callable[[gr.Request], None] | None = None) -> None:
        self.remote, self.gate = remote if callable(remote) else lambda: remote, gate
        self.notices: list[str] = []
        self.works: Callable[[gr.Request], None] | None = None
        self.help: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda form: {}
        self.parts: dict[str, Any] = {}
        self.form: dict[str, Any] = {}
        self.checked: list[str] = []
        self.shapes: dict[str, Callable[[Any], Any]] = {}
        """What a browser keeps comes back from it: by name, what makes the right kind of value of any."""

    def add(self, name: str, part: Any) -> Any:
        """Raises ValueError where the name is taken."""
        if name in self.parts:
            raise ValueError(f"two components are called {name}")
        self.parts[name] = part
        return part

    def notice(self, name: str, elem_id: str) -> None:
        """A place for what handlers say."""
        self.notices.append(name)
        self.add(name, gr.HTML("", elem_id=elem_id, js_on_load="svdui.says(element, watch)"))

    def control(self, name: str, control: Any, checked: bool = True) -> Any:
        """A control of the form. What is typed or pulled shows a message of its own, unless it is not ``checked``."""
        self.form[name] = control
        if checked and isinstance(control, gr.Number | gr.Slider | gr.Textbox):
            self.checked.append(name)
        return self.add(name, control)

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def on(
        self,
        events: Callable[..., Any] | list[Any],
        handler: Callable[[Given], Changes],
        reads: Iterable[str] = (),
        writes: Collection[str] = (),
        *,
        fields: bool = False,
        says: str = "notice",
        then: str = "",
        keep: bool | Page = False,
        **options: Any,
    ) -> None:
        """Call ``handler`` at one of ``events``; afterwards run the script ``then`` and ``keep`` the form, or another page's.

        Handlers are quick: nothing queues, and no spinner covers what is being read. One that writes a ``notice`` writes the
        place that it ``says`` things in, and clears the others; if it raises a SvdUiError, only that is said, with ``fields``
        on the control at fault.
        """
        speaks = "notice" in writes
        named = [*(name for name in writes if name != "notice"), *(self.notices if speaks else ())]
        read, written = list(dict.fromkeys(reads)), list(dict.fromkeys([*named, *(self.checked if fields else [])]))

        def told(error: SvdUiError | None, form: Mapping[str, Any]) -> Changes:
            shown = self.messages(error, form) if fields else {}
            at_field = fields and self.field_of(error) is not None
            text = "" if error is None or at_field else said(error.to_dict(), self.remote())
            return {**dict.fromkeys(self.notices, ""), says: notice(text), **shown} if speaks else shown

        def placed(changes: Changes) -> Changes:
            return {says if name == "notice" else name: value for name, value in changes.items()}

        def call(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
            given = {name: self._shaped(name, value) for name, value in zip(read, values, strict=True)}
            form = {name: value for name, value in given.items() if name in self.form}
            try:
                if self.gate is not None:
                    self.gate(request)
                with one_look():
                    changes = {**told(None, form), **placed(handler(Given(given, form, request, Clicked(event))))}
            except SvdUiError as error:
                changes = told(error, form)
                if not changes:  # said by gradio, which would put the whole trace into the log
                    raise gr.Error(said(error.to_dict(), self.remote()), print_exception=False) from None
            return {self.parts[name]: value for name, value in changes.items()} or gr.skip()

        ins, outs = [self.parts[name] for name in read], [self.parts[name] for name in written]
        if isinstance(events, list):
            last = gr.on(events, call, ins, outs, **QUIET, **options)
        else:
            last = events(call, ins, outs, **QUIET, **options)
        if then:
            last = last.then(None, js=then, **QUIET)
        if self.works is not None and "watched" in writes:
            last.then(self.works, **LASTING)
        if keep:
            last.then(**(self if keep is True else keep).keeping())

    def _shaped(self, name: str, value: Any) -> Any:
        return self.shapes[name](value) if name in self.shapes else value

    def by_script(self, event: Callable[..., Any], js: str, name: str) -> None:
        """Set a control to what ``js`` returns, without a call to the server, and keep the form."""
        event(None, None, self.parts[name], js=js, **QUIET).then(**self.keeping())

    def keeping(self, *more: str) -> dict[str, Any]:
        """Arguments of an event that keeps the form, and ``more`` parts, in the browser without a call to the server."""
        names = [*more, *self.form]
        quoted = "[" + ",".join(f"'{name}'" for name in names) + "]"
        values = f"Object.fromEntries({quoted}.map((name, i) => [name, values[i]]))"
        js = f"(...values) => ({{version: {SCHEMA_VERSION}, values: {values}}})"
        return {
            "fn": None,
            "inputs": [self.parts[name] for name in names],
            "outputs": [self.parts["kept"]],
            "js": js,
            **QUIET,
        }

    def kept(self, model: type[BaseModel], stored: Any, blank: Changes, checkpoints: Collection[str] = ()) -> Changes:
        """What the browser kept of the form, by name; what is unknown or of the wrong kind is as in ``blank``.

        ``checkpoints`` are those there are now, which may be more than when the page was built.
        """
        held = renamed(model, stored_values(stored))
        fits = {
            name: held[name]
            for name, control in self.form.items()
            if name in held and (plausible(control, held[name]) or (name == "checkpoint" and held[name] in checkpoints))
        }
        return {**blank, **fits}

    # What controls say

    def field_of(self, error: SvdUiError | None) -> str | None:
        """The control an error belongs to, if it has one that can show it."""
        field = error.field if isinstance(error, BadInput) else None
        return field if field in self.checked else None

    def usual_help(self, name: str, form: Mapping[str, Any]) -> str | None:
        """What stands under a control; None where nothing ever does."""
        info: str | None = self.parts[name].info
        return None if info is None else self.help(form).get(name, info)

    def messages(self, error: SvdUiError | None, form: Mapping[str, Any]) -> Changes:
        """The message on the field at fault, the usual help on all other ``checked`` ones."""
        wrong = self.field_of(error)
        changes: Changes = {}
        for name in self.checked:
            classes = list(self.parts[name].elem_classes or [])
            if error is not None and name == wrong:
                changes[name] = gr.update(info=error.message, elem_classes=[*classes, "invalid"])
            else:
                changes[name] = gr.update(info=self.usual_help(name, form), elem_classes=classes)
        return changes


def stored_values(stored: Any) -> dict[str, Any]:
    """What a browser kept of a form, by name; releases before 2 kept the values alone, without a version."""
    values = stored.get("values") if isinstance(stored, dict) and "version" in stored else stored
    return values if isinstance(values, dict) else {}


def plausible(control: Any, value: Any) -> bool:
    """Whether ``value``, from a browser, is one that ``control`` may hold."""
    if isinstance(control, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(control, gr.Radio):
        return value in [choice[1] for choice in control.choices]
    if isinstance(control, gr.Number | gr.Slider):
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    longest = getattr(control, "max_length", None) or MOST_TEXT
    return isinstance(value, str) and len(value) <= longest
