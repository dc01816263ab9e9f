"""Everything on the page that follows from the form: the crop, what blank fields mean, what it costs, offers, licences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from ... import __version__
from ...catalog import CheckpointRow, short_title
from ...clip import ClipShape, ClipSpec
from ...engine.estimates import approximate
from ...errors import BadInput
from ...loras import LoraFile
from ...methods import METHODS
from ...notes import WORDS, sentence
from ...request import FOCUS, GenerationRequest
from ..context import Context
from ..controls import CLIP, hint
from ..formatting import duration, frame_size, html
from ..page import Changes
from . import directing
from .form import PICTURE, PROMPT, describe_preset, hints_of, shown_still
from .groups import WEIGHT, Kinds, groups, wall_of, weights, with_wall
from .offers import offers
from .prediction import Change, asked, changed, estimated, obstacle, prediction, speed_labels
from .stills import Still, Stills, finder, focus_of, size_of

LORA_STEP = 0.05


def form_view(
    context: Context,
    values: Mapping[str, Any],
    stills: Stills,
    change: Change | None = None,
    own: Change | None = None,
) -> Changes:
    """Pure reading; called whenever something that shows changes. ``change`` is what a remedy has just set, ``own`` what
    the choice of a checkpoint left set.
    """
    row, prompting = context.row(values["checkpoint"]), values["source"] == PROMPT
    still = shown_still(stills, values)
    shape = _size(values, row, still)
    hints = hints_of(values, row, still)
    focus, by_hand = focus_of(context.assets, still, shape, (values.get("focus_x"), values.get("focus_y")))
    for name, value in zip(FOCUS, focus if still else ("on the subject",) * 2, strict=True):
        hints[name] = hint(name, value)
    request = asked(values, row, still)
    estimate, device, count = estimated(context, request), context.device(), _count(values, stills)
    return {
        **{name: gr.update(placeholder=text) for name, text in hints.items() if name in HINTED},
        **offers(context, values, estimate, hints, own),
        **_shown_kinds(values, row),
        "finder": finder(stills if still else None, *shape, focus, by_hand),
        "door": gr.update(visible="hidden" if prompting or still else True),
        "prompt_side": gr.update(visible=prompting),
        "negative_prompt": _negative(context, prompting),
        "render_height": _render_height(values, row, shape),
        "preset_help": html("quiet", text=describe_preset(values["preset"], row)),
        "summary": summary(
            row,
            _file_shape(values, row, shape, request, still),
            count,
            prediction(estimate, device, count),
            bool(request and approximate(ClipSpec.of(request, row))),
        ),
        "obstacle": obstacle(estimate, device) or changed(change, values, hints),
        "checkpoint": gr.update(choices=context.checkpoint_choices(values["checkpoint"])),
        "speed": gr.update(choices=speed_labels(context, row, request, count)),
        "schedule": gr.update(choices=CLIP.choices("schedule", hints["schedule"])),
        "lora_list": lora_list(context.loras(), values.get("loras"), row, context.rows()),
        "wall_toggle": wall_toggle(values),
        "wall_cost": html("quiet", text=_wall_cost(context, values, request)),
        "footer": footer(context, row),
    }


HINTED = [name for name in CLIP.fields if CLIP.widget(name) is gr.Number]
"""The numbers that may be blank; their placeholder says what applies then."""


def _shown_kinds(values: Mapping[str, Any], row: CheckpointRow) -> Changes:
    """The parameters of the kinds that are chosen, and why the checkpoint cannot be steered by the chosen method."""
    kinds = [group for group in groups() if isinstance(group, Kinds)]
    shown = {name: gr.update(visible=on) for group in kinds for name, on in group.shown(values).items()}
    shown |= directing.troubles(values)
    chosen = METHODS.classes().get(str(values.get("method")))
    if chosen is None or len(METHODS.classes()) == 1:
        return shown
    reason = chosen.model_construct().needs(row.facts)
    return {**shown, "method": gr.update(info=sentence(reason) if reason else chosen.summary())}


def _negative(context: Context, prompting: bool) -> Any:
    """The negative prompt says why it has no effect as things stand."""
    why = context.ignored_by_stills().get("negative_prompt") if prompting else "Only for pictures made from a prompt."
    return gr.update(interactive=why is None, info=why or CLIP.info("negative_prompt"))


def _render_height(values: Mapping[str, Any], row: CheckpointRow, size: tuple[int, int]) -> Any:
    """Frames of another size are offered where the checkpoint can make them; what is there can always be taken away."""
    can = row.facts.renders(row)
    info = CLIP.info("render_height") if can else f"{short_title(row)} makes frames of the clip's own size only."
    given = values.get("render_height") is not None
    return gr.update(interactive=can or given, info=info, placeholder=hint("render_height", size[1] if can else None))


def _size(values: Mapping[str, Any], row: CheckpointRow, still: Still | None) -> tuple[int, int]:
    """The size that applies: given by hand where that is valid, else from the aspect."""
    width, height = values.get("width"), values.get("height")
    if _usable("width", width) and _usable("height", height):
        return int(width), int(height)  # type: ignore[arg-type]
    return size_of(row, values["aspect"], still)


def _usable(name: str, value: Any) -> bool:
    facts = CLIP[name]
    return isinstance(value, int | float) and (facts.low or 0) <= value <= (facts.high or value)


def _count(values: Mapping[str, Any], stills: Stills) -> int:
    """How many clips one press of Animate makes."""
    pictures = max(1, len(stills["items"])) if values["source"] == PICTURE else 1
    return max(1, int(values.get("seeds") or 1)) * pictures


def _file_shape(
    values: Mapping[str, Any],
    row: CheckpointRow,
    size: tuple[int, int],
    request: GenerationRequest | None,
    still: Still | None,
) -> ClipShape:
    """What the file will measure, after the post steps; while the form is not valid, what it says of the clip."""
    if request is not None:
        clip = ClipSpec.of(request, row)
        return (clip.of_picture((still["width"], still["height"])) if still else clip).final_shape
    fps = values.get("output_fps") or values.get("fps") or row.fps
    return ClipShape(values.get("num_frames") or row.num_frames, *size, fps)


def summary(
    row: CheckpointRow, shape: ClipShape, count: int, cost: dict[str, str], is_approximate: bool = False
) -> str:
    """``nano · 14 frames, 2.0 s · 256 × 144``: what Animate will make, and what that costs."""
    length = f"{shape.num_frames} frames, {shape.num_frames / shape.fps:.1f} s"
    parts = [short_title(row), length, frame_size(shape.width, shape.height), "approximate" if is_approximate else ""]
    return html("animate/summary", count=count, parts=parts, **cost)


# The draft wall and the LoRAs


def wall_toggle(values: Mapping[str, Any]) -> str:
    """``3 × 3``: the button that opens the controls of the wall."""
    try:
        wall = wall_of(values)
        text = f"{wall.seeds} × {len(wall.motion_bucket_ids)}"
        said = f"{wall.seeds} seeds by {len(wall.motion_bucket_ids)} motions"
    except BadInput:
        text, said = "…", "not valid yet"
    return html("animate/wall-toggle", text=text, said=said)


def _wall_cost(context: Context, values: Mapping[str, Any], request: GenerationRequest | None) -> str:
    """``9 small clips at draft speed, about 40 s.``; '' while a control is not valid."""
    try:
        wanted = with_wall(request, wall_of(values)) if request else None
    except BadInput:
        return ""
    if wanted is None or wanted.wall is None:
        return ""
    seconds = estimated(context, wanted).seconds
    time = f", about {duration(max(1.0, seconds))}" if seconds else ""
    return f"{wanted.wall.tiles} small clips at {wanted.speed} speed{time}."


def lora_list(files: Mapping[str, LoraFile], text: Any, row: CheckpointRow, rows: Mapping[str, CheckpointRow]) -> str:
    """The LoRAs present, and chosen ones that are not here any more. '' where there is neither."""
    chosen, allowed = weights(text), WEIGHT["weight"]
    gone = [LoraFile(name=name, path=Path(), bytes=0, trouble=GONE) for name in chosen if name not in files]
    items = [_lora(file, chosen.get(file.name), row, rows) for file in (*gone, *files.values())]
    info = CLIP.fields["loras"]
    about: dict[str, Any] = {
        "title": info.title,
        "description": info.description,
        "unsure": WORDS["tags"]["unsure_lora"],
    }
    about |= {"weight_label": WEIGHT.label("weight"), "refused": [], "usable": []}
    for item in items:
        about["refused" if item["trouble"] and item["weight"] is None else "usable"].append(item)
    return html("animate/loras", low=f"{allowed.low:g}", high=f"{allowed.high:g}", step=LORA_STEP, **about)


GONE = "It is no longer on this machine."


def _lora(
    file: LoraFile, weight: float | None, row: CheckpointRow, rows: Mapping[str, CheckpointRow]
) -> dict[str, Any]:
    """``base`` names the other checkpoint it was trained on; '' where it fits or does not say."""
    title = short_title(rows[file.base]) if file.base in rows else file.base
    alpha = f", alpha {file.alpha:g}" if file.alpha not in (None, file.rank) else ""
    about = (f"for {title}" if title else "", f"rank {file.rank}{alpha}" if file.rank else "", file.licence, file.note)
    fits = not file.base or file.base == row.id or file.trouble
    return {
        "name": file.name,
        "title": file.title or file.name,
        "weight": weight,
        "trouble": file.trouble,
        "notes": list(map(sentence, file.notes)),
        "meta": " · ".join(part for part in about if part),
        "base": "" if fits else title,
    }


# The page's foot


def footer(context: Context, selected: CheckpointRow) -> str:
    """Independence, trademarks, the licence of every model in reach; the notice Stability AI's licence asks for."""
    name = context.settings.text_to_image
    on_hub = "/" in name and not name.startswith(("/", ".", "~"))
    rows = context.rows().values()
    return html("footer", selected=selected, rows=rows, text_to_image=name, on_hub=on_hub, version=__version__)
