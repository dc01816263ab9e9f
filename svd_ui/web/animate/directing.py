"""The editors of a method's fields: what a field asks for by its widget is drawn, dropped or pulled, and kept as its text.

A field's control is a text, so that it travels like every other value; the editor beside it reads and writes that text in the
browser (``assets/js/25-directing.js`` and after). A package's method that asks for the same widget gets the same editor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gradio as gr
from pydantic.fields import FieldInfo

from ...assets import Assets
from ...errors import BadPicture
from ...steering import camera
from ..context import Context, uploaded
from ..controls import Controls
from ..formatting import html
from ..page import QUIET, Changes, Given, Page
from .groups import Kinds, groups
from .stills import ACCEPT

DROPPED = ("picture", "pictures")
"""Widgets that hold pictures by their refs."""
EDITORS = {
    "camera": "animate/edit-camera",
    "strokes": "animate/edit-strokes",
    "arrows": "animate/edit-arrows",
    "box": "animate/edit-box",
    "picture": "animate/edit-picture",
    "pictures": "animate/edit-pictures",
}
"""Widget => the template of its editor."""
MOST_BETWEEN = 2
"""Pictures of a ``pictures`` widget."""
SCRIPT = "svdui.editor(element, trigger, upload)  /* 'take' */"
EASES = {
    "in-out": "M2 18C10 18 10 4 18 4",
    "in": "M2 18C12 18 16 12 18 4",
    "out": "M2 18C4 10 8 4 18 4",
    "linear": "M2 18L18 4",
}
"""How a move starts and ends => the curve that is drawn for it, in a square of 20."""


def widget_of(info: FieldInfo) -> str:
    """The editor that a field asks for; '' for none."""
    extra = info.json_schema_extra
    asked = extra.get("widget") if isinstance(extra, dict) else None
    return asked if isinstance(asked, str) and asked in EDITORS else ""


def edited() -> dict[str, tuple[Controls, str]]:
    """Control => (the controls of its kind, the field's name), of every field of a kind that has an editor."""
    return {
        name: (controls, field)
        for kinds in groups()
        if isinstance(kinds, Kinds)
        for kind, controls in kinds.of_kind.items()
        for name, field in kinds.names(kind).items()
        if widget_of(controls.fields[field])
    }


def control(page: Page, name: str, controls: Controls, field: str) -> None:
    """The control of a field, and its editor where it asks for one."""
    kind = widget_of(controls.fields[field])
    if not kind:
        page.control(name, controls.control(field))
        return
    typed = kind == "camera"
    page.add(f"{name}.editor", gr.HTML(_editor(kind, controls, field), js_on_load=SCRIPT, elem_classes=["edits"]))
    # Not ``visible="hidden"``: what is in a column that comes into view is shown with it.
    shown: dict[str, Any] = {"info": None, "elem_classes": ["dial", "by-editor"]}
    if typed:
        shown = {"label": f"{controls.label(field)} as text", "lines": 1, "max_lines": 4}
    page.control(name, controls.control(field, gr.Textbox, **shown), checked=typed)
    id = page[name].elem_id
    page[name].change(None, [page[name]], None, js=f"(text) => svdui.directed('{id}', text)", **QUIET)


def _editor(kind: str, controls: Controls, field: str) -> str:
    facts = controls[field]
    return html(
        EDITORS[kind],
        id=f"{controls.prefix}-{field}",
        title=controls.label(field),
        info=controls.info(field) or "",
        empty=controls.blank(field),
        most=facts.max_length or 0,
        moves=list(camera.MOVES),
        limits=camera.LIMITS,
        most_keys=camera.MOST_KEYS,
        eases=EASES,
        flows="angle" in controls.fields,  # a stroke's direction says something to such a method
        accept=ACCEPT,
        between=MOST_BETWEEN,
    )


def troubles(values: Mapping[str, Any]) -> Changes:
    """What is wrong with each camera's path, beside its text; the usual help where nothing is."""
    said: Changes = {}
    for name, (controls, field) in edited().items():
        if widget_of(controls.fields[field]) != "camera":
            continue
        try:
            camera.read(str(values.get(name) or ""))
            said[name] = gr.update(info=controls.info(field), elem_classes=["dial"])
        except ValueError as error:
            text = str(error)
            said[name] = gr.update(info=f"{text[:1].upper()}{text[1:]}.", elem_classes=["dial", "invalid"])
    return said


def wire(page: Page, context: Context) -> None:
    """Pictures that are dropped on an editor come in by the door that every picture comes in by."""
    for name, (controls, field) in edited().items():
        kind = widget_of(controls.fields[field])
        if kind in DROPPED:
            take = _taking(context.assets, name, kind)
            page.on(
                page[f"{name}.editor"].take,
                take,
                (name, "background"),
                (name, "notice"),
                keep=True,
                says="method_notice",
            )


def _taking(assets: Assets, name: str, kind: str) -> Any:
    def take(given: Given) -> Changes:
        files = given.event.files()
        if not files:
            return {}
        ref = assets.add(uploaded(str(files[0].get("path"))), given["background"]).ref
        text = ref if kind == "picture" else with_picture(str(given[name] or ""), ref, given.event.whole("at"))
        return {name: text}

    return take


def with_picture(text: str, ref: str, at: int) -> str:
    """``text``, ``0.4=sha256:…; 0.7=sha256:…``, with ``ref`` as its picture number ``at``, a new one where there are fewer."""
    pairs = [tuple(part.split("=", 1)) for part in re.split(r"\s*;\s*", text.strip()) if "=" in part]
    if at < len(pairs):
        pairs[at] = (pairs[at][0], ref)
    elif len(pairs) < MOST_BETWEEN:
        time = 0.5 if not pairs else round((float(pairs[-1][0]) + 1) / 2, 2)
        pairs.append((f"{time:g}", ref))
    else:
        raise BadPicture(f"At most {MOST_BETWEEN} pictures between: remove one first.")
    return "; ".join("=".join(pair) for pair in pairs)
