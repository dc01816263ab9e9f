"""Controls made from a model's fields: label, help, range and default come from the field, nothing is said twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from pydantic.fields import FieldInfo

from ..catalog import CheckpointRow
from ..request import APPROXIMATE, GenerationRequest, Speed
from ..validation import FieldFacts

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

    def __getitem__(self, name: str) -> FieldFacts:
        """What a field takes."""
        return FieldFacts.of(self.fields[name])

    def blank(self, name: str) -> Any:
        """What an untouched control of a field holds: its default; '' for a text or a choice that may be left open."""
        info, facts = self.fields[name], self[name]
        default = None if info.is_required() else info.default
        return "" if default is None and (facts.choices or facts.type is str) else default

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
        facts = self[name]
        left_open = [(f"Set by speed: {applied}" if applied else "Set by speed", "")] if facts.may_be_blank else []
        return [*left_open, *((value, value) for value in facts.choices)]

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
        facts = self[name]
        if facts.choices:
            return gr.Radio
        if facts.type in {str, bool}:
            return gr.Textbox if facts.type is str else gr.Checkbox
        low, high = facts.low, facts.high
        if facts.may_be_blank or low is None or high is None or (high - low) / self.step(name) > SLIDER_STEPS:
            return gr.Number
        return gr.Slider

    def step(self, name: str) -> float:
        """The least change of a number; of a wide range, tenths."""
        facts = self[name]
        if facts.type is int:
            return 1
        wide = facts.low is not None and facts.high is not None and (facts.high - facts.low) / 0.01 > SLIDER_STEPS
        return 0.1 if wide else 0.01

    def control(
        self, name: str, kind: type[gr.components.Component] | None = None, **extra: Any
    ) -> gr.components.Component:
        """The control of a field. ``kind`` overrules ``widget``; ``extra`` are its constructor's arguments."""
        made, facts = kind or self.widget(name), self[name]
        arguments: dict[str, Any] = {
            "label": self.label(name), "info": self.info(name), "value": self.blank(name),
            "elem_id": f"{self.prefix}-{name}", "elem_classes": ["dial"],
        }  # fmt: skip
        if made is gr.Radio and facts.choices:
            arguments["choices"] = self.choices(name)
        elif made is gr.Textbox:
            arguments["max_length"] = facts.max_length
        elif made is gr.Number:
            # No minimum or maximum here: gradio would answer with a toast, ours is a sentence on the field.
            arguments |= {"precision": 0 if facts.type is int else None, "placeholder": ""}
        elif made is gr.Slider:
            arguments |= {"minimum": facts.low, "maximum": facts.high, "step": self.step(name)}
        return made(**{**arguments, **extra})


CLIP = Controls(GenerationRequest.model_fields)
"""The controls of a clip."""


def hint(name: str, value: Any) -> str:
    """Placeholder of a blank control: the value that applies."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def applied(row: CheckpointRow, speed: Speed, fps: int | None) -> dict[str, Any]:
    """What every blank field means with this checkpoint at ``speed``; the decode chunk and seed follow later."""
    return {
        "decode_chunk_size": "auto",
        "guidance_sigma_min": "never",
        "guidance_sigma_max": "never",
        "output_fps": fps or row.fps,
        **row.defaults(speed),
        "seed": "random",
    }
