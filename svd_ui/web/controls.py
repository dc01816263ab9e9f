"""Controls made from a model's fields: label, help, range and default come from the field, nothing is said twice."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le, MaxLen, MultipleOf
from pydantic.fields import FieldInfo

from ..catalog import CheckpointRow
from ..request import APPROXIMATE, GenerationRequest, Speed

WIDGETS: dict[str, type[gr.components.Component]] = {
    "slider": gr.Slider,
    "number": gr.Number,
    "choice": gr.Radio,
    "switch": gr.Checkbox,
    "text": gr.Textbox,
}
SLIDER_STEPS = 1000
"""A slider has at most so many positions; a wider range is typed."""


class Controls:
    """The controls of any model's fields. ``prefix`` begins the controls' ids.

    A field may ask for a widget: ``json_schema_extra={"widget": "slider"}``, one of ``WIDGETS``; else its type decides.
    """

    def __init__(self, fields: Mapping[str, FieldInfo], prefix: str = "dial") -> None:
        self.fields, self.prefix = fields, prefix

    def bounds(self, name: str) -> tuple[float | None, float | None]:
        """(least, greatest) value of a field, None where it has no bound."""
        low = next((m.ge for m in self.fields[name].metadata if isinstance(m, Ge)), None)
        high = next((m.le for m in self.fields[name].metadata if isinstance(m, Le)), None)
        return low, high  # type: ignore[return-value]

    def max_length(self, name: str) -> int | None:
        """Longest text a field takes."""
        return next((m.max_length for m in self.fields[name].metadata if isinstance(m, MaxLen)), None)

    def value_type(self, name: str) -> tuple[Any, bool]:
        """(type, whether None is allowed) of a field."""
        annotation = self.fields[name].annotation
        if get_origin(annotation) in {Union, types.UnionType}:
            inner = [arg for arg in get_args(annotation) if arg is not type(None)]
            return inner[0], len(inner) < len(get_args(annotation))
        return annotation, False

    def chosen(self, name: str) -> bool:
        """Whether a field is one of a few names."""
        return get_origin(self.value_type(name)[0]) is Literal

    def blank(self, name: str) -> Any:
        """What an untouched control of a field holds: its default; '' for a text or a choice that may be left open."""
        info = self.fields[name]
        default = None if info.is_required() else info.default
        return "" if default is None and (self.chosen(name) or self.value_type(name)[0] is str) else default

    def approximate(self, name: str) -> bool:
        """Whether a field trades likeness for time. ``speed`` sets such fields and is labelled choice by choice."""
        return self.fields[name].json_schema_extra == APPROXIMATE

    def label(self, name: str) -> str:
        """The label of a field's control."""
        title = self.fields[name].title
        return f"{title} (approximate)" if self.approximate(name) else title or name

    def choices(self, name: str, applied: str = "") -> list[tuple[str, str]]:
        """(what is read, value) of a field that is one of a few names; first "by speed" where it may be left open.

        ``applied`` is what leaving it open means as things stand.
        """
        kind, may_be_open = self.value_type(name)
        left_open = [(f"By speed: {applied}" if applied else "By speed", "")] if may_be_open else []
        return [*left_open, *((value, value) for value in get_args(kind))]

    def info(self, name: str) -> str | None:
        """The help line under a control."""
        return self.fields[name].description

    def widget(self, name: str) -> type[gr.components.Component]:
        """The kind of control: what the field asks for, else a slider where a value is always there, a number that may
        be blank where not.
        """
        extra = self.fields[name].json_schema_extra
        asked = extra.get("widget") if isinstance(extra, dict) else None
        if isinstance(asked, str) and asked in WIDGETS:
            return WIDGETS[asked]
        value, may_be_open = self.value_type(name)
        if self.chosen(name):
            return gr.Radio
        if value in {str, bool}:
            return gr.Textbox if value is str else gr.Checkbox
        low, high = self.bounds(name)
        if may_be_open or low is None or high is None or (high - low) / self.step(name) > SLIDER_STEPS:
            return gr.Number
        return gr.Slider

    def step(self, name: str) -> float:
        """The least change of a number."""
        return 1 if self.value_type(name)[0] is int else 0.01

    def control(
        self, name: str, kind: type[gr.components.Component] | None = None, **extra: Any
    ) -> gr.components.Component:
        """The control of a field. ``kind`` overrules ``widget``; ``extra`` are its constructor's arguments."""
        made = kind or self.widget(name)
        arguments: dict[str, Any] = {
            "label": self.label(name), "info": self.info(name), "value": self.blank(name),
            "elem_id": f"{self.prefix}-{name}", "elem_classes": ["dial"],
        }  # fmt: skip
        if made is gr.Radio and self.chosen(name):
            arguments["choices"] = self.choices(name)
        elif made is gr.Textbox:
            arguments["max_length"] = self.max_length(name)
        elif made is gr.Number:
            # No minimum or maximum here: gradio would answer with a toast, ours is a sentence on the field.
            arguments |= {"precision": 0 if self.value_type(name)[0] is int else None, "placeholder": ""}
        elif made is gr.Slider:
            low, high = self.bounds(name)
            arguments |= {"minimum": low, "maximum": high, "step": self.step(name)}
        return made(**{**arguments, **extra})

    def range_text(self, name: str) -> str:
        """The range of a field in words, for a message."""
        low, high = self.bounds(name)
        step = next((m.multiple_of for m in self.fields[name].metadata if isinstance(m, MultipleOf)), None)
        text = f"{low:g} to {high:g}" if low is not None and high is not None else ""
        return f"{text}, in steps of {step:g}" if step else text


FIELDS = GenerationRequest.model_fields
CLIP = Controls(FIELDS)
"""The controls of a clip."""


def hint(name: str, value: Any) -> str:
    """Placeholder of a blank control: the value that applies."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


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
