"""Controls made from ``GenerationRequest.model_fields``: label, help, range and default come from the field."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le, MaxLen, MultipleOf

from ..catalog import CheckpointRow
from ..request import GenerationRequest, Speed

FIELDS = GenerationRequest.model_fields

SHORT_HELP: dict[str, str | None] = {}
"""Fields whose description would only repeat what the control already shows."""


def bounds(name: str) -> tuple[float | None, float | None]:
    """(least, greatest) value of a field, None where it has no bound."""
    low = next((m.ge for m in FIELDS[name].metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in FIELDS[name].metadata if isinstance(m, Le)), None)
    return low, high  # type: ignore[return-value]


def max_length(name: str) -> int | None:
    """Longest text a field takes."""
    return next((m.max_length for m in FIELDS[name].metadata if isinstance(m, MaxLen)), None)


def value_type(name: str) -> tuple[Any, bool]:
    """(type, whether None is allowed) of a field."""
    annotation = FIELDS[name].annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return inner[0], len(inner) < len(get_args(annotation))
    return annotation, False


def chosen(name: str) -> bool:
    """Whether a field is one of a few names."""
    return get_origin(value_type(name)[0]) is Literal


def blank(name: str) -> Any:
    """What an untouched control of a field holds: its default; '' for a text or a choice that may be left open."""
    default = FIELDS[name].default
    return "" if default is None and (chosen(name) or value_type(name)[0] is str) else default


def approximate(name: str) -> bool:
    """Whether a field trades likeness for time. ``speed`` sets such fields and is labelled choice by choice."""
    return name != "speed" and "approximate" in (FIELDS[name].description or "")


def label(name: str) -> str:
    """The label of a field's control."""
    return f"{FIELDS[name].title} (approximate)" if approximate(name) else FIELDS[name].title or name


def choices(name: str, applied: str = "") -> list[tuple[str, str]]:
    """(what is read, value) of a field that is one of a few names; first "by speed" where it may be left open.

    ``applied`` is what leaving it open means as things stand.
    """
    kind, may_be_open = value_type(name)
    left_open = [(f"By speed: {applied}" if applied else "By speed", "")] if may_be_open else []
    return [*left_open, *((value, value) for value in get_args(kind))]


def info(name: str) -> str | None:
    """The help line under a control."""
    return SHORT_HELP.get(name, FIELDS[name].description)


def dial(name: str, kind: type[gr.components.Component] | None = None, **extra: Any) -> gr.components.Component:
    """The control of a field: a slider where a value is always there, a number that may be blank where not.

    ``kind`` overrules the choice; ``extra`` are its constructor's arguments.
    """
    value, may_be_open = value_type(name)
    low, high = bounds(name)
    common: dict[str, Any] = {"label": label(name), "info": info(name), "elem_id": f"dial-{name}"}
    common["elem_classes"] = ["dial"]
    if kind is not None:
        return kind(**{**common, "value": FIELDS[name].default, **extra})
    if chosen(name):
        return gr.Radio(**{**common, "choices": choices(name), "value": blank(name), **extra})
    if value is str:
        return gr.Textbox(**{**common, "max_length": max_length(name), "value": FIELDS[name].default, **extra})
    whole = value is int
    if may_be_open:
        # No minimum or maximum here: gradio would answer with a toast, ours is a sentence on the field.
        return gr.Number(**{**common, "value": None, "precision": 0 if whole else None, "placeholder": "", **extra})
    options = {"minimum": low, "maximum": high, "step": 1 if whole else 0.01, "value": FIELDS[name].default}
    return gr.Slider(**{**common, **options, **extra})


def hint(name: str, value: Any) -> str:
    """Placeholder of a blank control: the value that applies."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def range_text(name: str) -> str:
    """The range of a field in words, for a message."""
    low, high = bounds(name)
    step = next((m.multiple_of for m in FIELDS[name].metadata if isinstance(m, MultipleOf)), None)
    text = f"{low:g} to {high:g}" if low is not None and high is not None else ""
    return f"{text}, in steps of {step:g}" if step else text


def applied(row: CheckpointRow, speed: Speed, fps: int | None) -> dict[str, Any]:
    """What every blank field means with this checkpoint at ``speed``; the decode chunk and seed follow later."""
    return {
        "decode_chunk_size": "auto",
        "guidance_sigma_min": "to the end",
        "guidance_sigma_max": "from the start",
        **row.defaults(speed),
        "output_fps": fps or row.fps,
        "seed": "random",
    }
