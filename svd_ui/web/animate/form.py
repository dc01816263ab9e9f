"""The form: its controls by name, and the way between their values and a ``GenerationRequest``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from ...catalog import CheckpointRow
from ...errors import BadInput, SvdUiError
from ...migration import renamed
from ...presets import Preset, presets, validate
from ...request import GenerationRequest, Wall
from .. import controls
from . import loras, wall
from .stills import ASPECT_CHOICES, Still, aspect_of, current, size_of

PICTURE, PROMPT = "Picture", "Prompt"
OWN = "None"
"""The preset choice that means: my own settings."""
MAX_SEEDS = 8
EXTRAS: dict[str, Any] = {
    "source": PICTURE,
    "aspect": "16:9",
    "preset": OWN,
    "background": "#ffffff",
    "seeds": 1,
    "loras": "",
    **wall.shown(Wall()),
}
"""Controls that are not fields of a request, or hold them in another form, with their defaults."""
SIZE = {"width", "height"}
SHAPING = (
    "source aspect prompt checkpoint width height focus_x focus_y num_frames fps output_fps num_inference_steps seeds "
    "profile output_format speed schedule cache_interval guidance_sigma_min guidance_sigma_max min_guidance_scale "
    "max_guidance_scale decode_chunk_size loras wall_seeds wall_motions"
).split()
"""Controls whose change shows elsewhere: in the crop, the summary, the prediction, an offer or a hint."""


@dataclass
class Form:
    """``controls`` in the order in which the browser keeps them."""

    controls: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, control: Any) -> Any:
        self.controls[name] = control
        return control

    @property
    def checked(self) -> list[str]:
        """The controls that can show a message of their own."""
        return [
            name
            for name, control in self.controls.items()
            if name not in {"negative_prompt", "loras"} and isinstance(control, gr.Number | gr.Slider | gr.Textbox)
        ]

    @property
    def hinted(self) -> list[str]:
        """The numbers that may be blank; their placeholder says what applies then."""
        return [n for n, c in self.controls.items() if isinstance(c, gr.Number) and n in controls.FIELDS]

    @property
    def helps(self) -> dict[str, tuple[Any, list[str]]]:
        """(help line, classes) of each checked control as it was built."""
        return {name: (self.controls[name].info, list(self.controls[name].elem_classes or [])) for name in self.checked}

    @property
    def fields(self) -> list[str]:
        """The controls that are fields of a request."""
        return [name for name in self.controls if name in controls.FIELDS]

    def defaults(self) -> dict[str, Any]:
        return {name: default_of(name) for name in self.controls}

    def kept(self, value: Any, checkpoints: Collection[str] = ()) -> dict[str, Any]:
        """What the browser kept -> values by name; anything unknown or of the wrong kind is left at its default.

        ``checkpoints`` are those there are now, which may be more than when the page was built.
        """
        values = self.defaults()
        stored = renamed(GenerationRequest, value) if isinstance(value, dict) else {}
        for name, control in self.controls.items():
            held = stored.get(name)
            if name in stored and (plausible(control, held) or (name == "checkpoint" and held in checkpoints)):
                values[name] = held
        return values


def default_of(name: str) -> Any:
    """What a control holds when nobody has touched it."""
    if name in EXTRAS:
        return EXTRAS[name]
    return controls.blank(name)


def plausible(control: gr.components.Component, value: Any) -> bool:
    """Whether ``value``, from a browser, is one that ``control`` may hold."""
    if isinstance(control, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(control, gr.Radio):
        return value in [choice[1] for choice in control.choices]
    if isinstance(control, gr.Number | gr.Slider):
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return isinstance(value, str) and len(value) < 2000


def explicit(values: Mapping[str, Any]) -> dict[str, Any]:
    """The form's values as fields of a request; blank ones are left to the checkpoint."""
    found = {name: value for name, value in values.items() if name in controls.FIELDS and value is not None}
    given = {name: value for name, value in found.items() if not (isinstance(value, str) and not value.strip())}
    return {**given, "loras": loras.read(given["loras"])} if "loras" in given else given


def request_of(values: Mapping[str, Any], row: CheckpointRow, still: Still | None) -> GenerationRequest:
    """One clip from the form. Raises BadInput naming the field; with neither still nor prompt, a plain sentence."""
    given = explicit(values)
    prompt, negative = given.pop("prompt", None), given.pop("negative_prompt", None)
    if values["source"] == PROMPT and not uses_still(values, still):
        if not prompt:
            raise BadInput("Describe the first frame, or switch to Picture and choose one.", field="prompt")
        given |= {"prompt": prompt, **({"negative_prompt": negative} if negative else {})}
        still = None
    elif still is None:
        raise BadInput("Choose a picture first, or switch to Prompt and describe one.", field="image")
    else:
        given["image"] = still["ref"]
    if not SIZE & given.keys():
        given["width"], given["height"] = size_of(row, values["aspect"], still)
    elif len(SIZE & given.keys()) == 1:
        missing = next(iter(SIZE - given.keys()))
        raise BadInput("Give both width and height, or leave both blank.", field=missing)
    return validate(given)


def uses_still(values: Mapping[str, Any], still: Still | None) -> bool:
    """Whether Animate starts from a picture: always on the picture side; on the prompt side once its still is made."""
    if still is None:
        return False
    if values["source"] == PICTURE:
        return True
    return bool(still.get("prompt")) and still.get("prompt") == (values.get("prompt") or "").strip()


def all_requests(values: Mapping[str, Any], row: CheckpointRow, stills: Any) -> list[GenerationRequest]:
    """Everything one press of Animate asks for: each still, each seed."""
    several = values["source"] == PICTURE and stills and len(stills["items"]) > 1
    chosen: list[Still | None] = list(stills["items"]) if several else [current(stills)]
    count = int(values.get("seeds") or 1)
    if not 1 <= count <= MAX_SEEDS:
        raise BadInput(f"Seeds at once: 1 to {MAX_SEEDS}.", field="seeds")
    base = [request_of(values, row, still) for still in chosen]
    return [_seeded(request, i) for request in base for i in range(count)]


def wall_request(values: Mapping[str, Any], row: CheckpointRow, stills: Any) -> GenerationRequest:
    """The draft wall of the picture that is shown, or of the prompt. Raises BadInput."""
    return wall.of(request_of(values, row, current(stills)), wall.wall_of(values))


def _seeded(request: GenerationRequest, index: int) -> GenerationRequest:
    """Seeds count up from a given one; blank ones are drawn for each clip."""
    if request.seed is None or index == 0:
        return request
    return request.model_copy(update={"seed": (request.seed + index) % (2**32)})


def values_of(request: GenerationRequest, row: CheckpointRow, still: Still | None, names: list[str]) -> dict[str, Any]:
    """A request -> values of the form, the size as an aspect choice where it is one."""
    data = request.model_dump(mode="json")
    values = {name: controls.blank(name) if data[name] is None else data[name] for name in names if name in data}
    if "loras" in values:
        values["loras"] = loras.shown(request.loras)
    if request.wall:
        values |= wall.shown(request.wall)
    size = (request.width, request.height)
    fitting = [choice for choice in ASPECT_CHOICES if size_of(row, choice, still) == size]
    aspect = fitting[0] if fitting else aspect_of(*size) if not row.folder else None
    if fitting or size == (None, None):
        values |= {"width": None, "height": None}
    values["source"] = PICTURE if request.image or not request.prompt else PROMPT
    values["preset"] = OWN
    if aspect:
        values["aspect"] = aspect
    return values


def switched(old: str, new: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What choosing preset ``new`` changes: its values, unless the visitor had set the field; precedence is kept.

    A field still at the old preset's value, or at its default, was not set by the visitor.
    """
    known = presets()
    before, after = _values(known.get(old)), _values(known.get(new))
    changes: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        untouched = {before.get(name, default_of(name)), default_of(name)}
        if name in values and values[name] in untouched:
            changes[name] = after.get(name, default_of(name))
    return changes


def _values(preset: Preset | None) -> dict[str, Any]:
    """A preset's values as the form holds them."""
    if preset is None:
        return {}
    loras_ = {"loras": loras.shown(preset.values["loras"])} if "loras" in preset.values else {}
    return {**preset.values, **loras_, **({"aspect": preset.aspect} if preset.aspect else {})}


def preset_choices() -> list[tuple[str, str]]:
    return [("None", OWN), *((preset.title, preset.id) for preset in presets().values())]


def notice(text: str, good: bool = False) -> str:
    """The line above Animate; '' clears it."""
    if not text:
        return ""
    return f'<p class="notice {"good" if good else "bad"}" role="{"status" if good else "alert"}">{escape(text)}</p>'


def field_of(error: SvdUiError | None, form: Form) -> str | None:
    """The control an error belongs to, if it has one that can show it."""
    field = error.field if isinstance(error, BadInput) else None
    return field if field in form.checked else None


def field_updates(error: SvdUiError | None, form: Form) -> tuple[Any, ...]:
    """Updates of ``form.checked``: the message on the field at fault, the usual help on all others."""
    wrong = field_of(error, form)
    return tuple(_update(form, name, error.message if error and name == wrong else None) for name in form.checked)


def _update(form: Form, name: str, message: str | None) -> Any:
    help_text, classes = form.helps[name]
    if message is None:
        return gr.update(info=help_text, elem_classes=classes)
    return gr.update(info=message, elem_classes=[*classes, "invalid"])
