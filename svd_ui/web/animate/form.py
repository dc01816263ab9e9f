"""The form's values, and the way between them and a ``GenerationRequest``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...catalog import CheckpointRow
from ...errors import BadInput
from ...methods import METHODS
from ...post import POST
from ...presets import ASPECTS, presets, validate
from ...request import FOCUS, MIDDLE, GenerationRequest, Wall
from ..controls import CLIP, applied, hint
from ..page import Page
from .groups import Values, groups, wall_of, wall_values, with_wall
from .stills import ASPECT_CHOICES, SOURCE_ASPECT, Still, aspect_of, current, size_of

PICTURE, PROMPT = "Picture", "Prompt"
OWN = "None"
"""The preset choice that means: my own settings."""
MAX_SEEDS = 8
EXTRAS: dict[str, Any] = {
    "source": PICTURE,
    "aspect": SOURCE_ASPECT,
    "preset": OWN,
    "background": "#ffffff",
    "seeds": 1,
    "say": "",
    **wall_values(Wall()),
}
"""Controls that are no fields of a request, with their defaults."""
FRESH: dict[str, Any] = {"post.boomerang": True}
"""What a form starts with that a request does not: a clip ends elsewhere than it began, so it plays there and back."""
SIZE = {"width", "height"}


def looped(method: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The loop that a fresh form puts on, for the ``method`` that is chosen now: none where that says how the clip ends.

    Whoever has chosen another finish has decided for themselves.
    """
    cls = METHODS.classes().get(str(method))
    if cls is None or any(values.get(f"post.{kind}") for kind in POST.classes() if f"post.{kind}" not in FRESH):
        return {}
    return {name: value and not cls.ends_as_asked for name, value in FRESH.items()}


def default_of(name: str) -> Any:
    """What a control holds when nobody has touched it."""
    if name in EXTRAS or name in FRESH:
        return {**EXTRAS, **FRESH}[name]
    folded = next((blank for group in groups() if name in (blank := group.blank())), None)
    return folded[name] if folded else CLIP.blank(name)


def kept_values(page: Page, stored: Any, checkpoints: Collection[str] = ()) -> dict[str, Any]:
    """What the browser kept, the rest at its default; ``checkpoints`` are those there are now."""
    values = page.kept(GenerationRequest, stored, {name: default_of(name) for name in page.form}, checkpoints)
    if all(values.get(name) == MIDDLE for name in FOCUS):
        # Releases before the focus could be blank kept their defaults so: nobody had chosen these.
        values |= {
            **dict.fromkeys(FOCUS),
            "aspect": default_of("aspect") if values["aspect"] == "16:9" else values["aspect"],
        }
    return values


def explicit(values: Mapping[str, Any]) -> dict[str, Any]:
    """The form's values as fields of a request; blank ones are left to the checkpoint."""
    plain = {name: value for name, value in values.items() if name in CLIP.fields and value is not None}
    given = {name: value for name, value in plain.items() if not (isinstance(value, str) and not value.strip())}
    for group in groups():
        given.pop(group.field, None)
        given |= group.fold(values)
    return given


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
        given = {**dict(zip(FOCUS, still.get("focus") or (), strict=False)), **given}
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


def shown_still(stills: Any, values: Mapping[str, Any]) -> Still | None:
    """The still the finder shows: on the prompt side only the one made from this very prompt."""
    still = current(stills)
    return still if uses_still(values, still) else None


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
    return with_wall(request_of(values, row, current(stills)), wall_of(values))


def _seeded(request: GenerationRequest, index: int) -> GenerationRequest:
    """Seeds count up from a given one; blank ones are drawn for each clip."""
    if request.seed is None or index == 0:
        return request
    return request.model_copy(update={"seed": (request.seed + index) % (2**32)})


def hints_of(values: Values, row: CheckpointRow, still: Still | None) -> dict[str, str]:
    """What each blank field means as things stand, for its placeholder."""
    width, height = size_of(row, values["aspect"], still)
    meant = {**applied(row, values["speed"], values.get("fps")), "width": width, "height": height}
    return {name: hint(name, value) for name, value in meant.items()}


def values_of(request: GenerationRequest, row: CheckpointRow, still: Still | None) -> dict[str, Any]:
    """A request -> values of the form: blank where the checkpoint fills in the same, the size as an aspect where it is one."""
    left = request.unresolved(row.defaults(request.speed))
    data = left.model_dump(mode="json", exclude={"image", "wall"})
    values = _unfolded({name: CLIP.blank(name) if value is None else value for name, value in data.items()})
    if request.wall:
        values |= wall_values(request.wall)
    size = (request.width, request.height)
    choices = ASPECT_CHOICES if still else tuple(ASPECTS)  # without its picture nobody knows what Source was
    fitting = [choice for choice in choices if size_of(row, choice, still) == size]
    aspect = fitting[0] if fitting else aspect_of(*size) if not row.folder else None
    if fitting or size == (None, None):
        values |= {"width": None, "height": None}
    values["source"] = PICTURE if request.image or not request.prompt else PROMPT
    values["preset"] = OWN
    if aspect:
        values["aspect"] = aspect
    return values


def _unfolded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a request as the form's controls hold them; groups that ``data`` does not name stay out."""
    values = dict(data)
    for group in groups():
        if group.field in data:
            values.pop(group.field)
            values |= group.unfold(data[group.field])
    return values


def preset_values(id: str, row: CheckpointRow) -> dict[str, Any]:
    """What a preset sets for a checkpoint, as the form holds it; nothing for none."""
    preset = presets().get(id)
    if preset is None:
        return {}
    return {**_unfolded(preset.of(row).values), **({"aspect": preset.aspect} if preset.aspect else {})}


def switched(before: Values, after: Values, values: Values) -> dict[str, Any]:
    """What changes when a preset that set ``before`` gives way to one that sets ``after``: all that the visitor did not set.

    A field still at ``before``, or at its default, was not set by the visitor.
    """
    changes: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        untouched = (before.get(name, default_of(name)), default_of(name))
        if name in values and values[name] in untouched:
            changes[name] = after.get(name, default_of(name))
    return changes


def preset_choices() -> list[tuple[str, str]]:
    return [("None", OWN), *((preset.title, preset.id) for preset in presets().values())]


def describe_preset(id: str, row: CheckpointRow) -> str:
    """The line under the presets: what the chosen one does with this checkpoint."""
    preset = presets().get(id)
    return preset.of(row).description if preset else ""
