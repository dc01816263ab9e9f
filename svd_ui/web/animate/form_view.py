"""Everything on the left that follows from the form: the crop, what blank fields mean, what it costs, offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ...catalog import CheckpointRow
from ...catalog.costs import tiles
from ...errors import BadInput
from ...request import GenerationRequest
from .. import controls, formatting
from ..context import Context
from . import loras, offer, prediction, wall
from .actions import shown_still
from .footer import footer
from .form import PICTURE, PROMPT
from .stills import Stills, finder, size_of


@dataclass
class Left:
    """What ``wiring`` puts into the left side."""

    finder: str
    door: bool
    prompt_side: bool
    summary: str
    offer: str
    still_offer: str
    footer: str
    can_make: bool
    negative: str | None
    obstacle: str
    wall_toggle: str
    wall_cost: str
    loras: str
    choices: dict[str, list[tuple[str, str]]]
    hints: dict[str, str] = field(default_factory=dict)


def left_side(
    context: Context, values: Mapping[str, Any], stills: Stills, change: prediction.Change | None = None
) -> Left:
    """Pure reading; called whenever something that shows changes. ``change`` is what a remedy has just set."""
    row = context.row(values["checkpoint"])
    still = shown_still(stills, values)
    size = _size(values, row, stills)
    prompting = values["source"] == PROMPT
    checkpoint_offer, still_offer, can_make = offers(context, values["checkpoint"], values["source"])
    applied = {**controls.applied(row, values["speed"], values.get("fps")), "width": size[0], "height": size[1]}
    hints = {name: controls.hint(name, value) for name, value in applied.items()}
    request = prediction.asked(values, row, still)
    cost, device, count = prediction.estimated(context, request), context.device(), _count(values, stills)
    return Left(
        finder=finder(stills if still else None, *size, _unit(values.get("focus_x")), _unit(values.get("focus_y"))),
        door=not prompting and still is None,
        prompt_side=prompting,
        summary=summary(values, row, size, count) + prediction.prediction(cost, device, count),
        offer=checkpoint_offer,
        still_offer=still_offer,
        footer=footer(context.rows().values(), row, context.settings.text_to_image),
        can_make=can_make,
        negative=_unused(context, values, prompting),
        obstacle=prediction.obstacle(cost, device) or prediction.changed(change, values, hints),
        wall_toggle=wall.toggle(values),
        wall_cost=_wall_cost(context, values, request),
        loras=loras.render(context.loras(), values.get("loras"), row, context.rows()),
        choices={
            "checkpoint": checkpoint_choices(context),
            "speed": prediction.labels(row, request),
            "schedule": controls.choices("schedule", str(applied["schedule"])),
        },
        hints=hints,
    )


def checkpoint_choices(context: Context) -> list[tuple[str, str]]:
    """The catalogue as it is now: what training writes shows up here."""
    return [("Auto (best one here)", "auto"), *((row.title, row.id) for row in context.rows().values())]


def offers(context: Context, checkpoint: str, source: str) -> tuple[str, str, bool]:
    """(offer of the checkpoint, offer of the model that makes stills, whether stills can be made)."""
    row = context.row(checkpoint)
    lacking = source == PROMPT and not context.text_to_image_present()
    still = offer.render_text_to_image(context.settings.text_to_image) if lacking else ""
    return "" if context.present(row) else offer.render(row), still, not lacking


def _unused(context: Context, values: Mapping[str, Any], prompting: bool) -> str | None:
    """Why the negative prompt has no effect as things stand, or None when it has one."""
    if not prompting:
        return "Only for stills made from a prompt."
    return context.ignored_by_stills().get("negative_prompt")


def _unit(value: Any) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else 0.5


def _size(values: Mapping[str, Any], row: CheckpointRow, stills: Stills) -> tuple[int, int]:
    """The size that applies: given by hand where that is valid, else from the aspect."""
    width, height = values.get("width"), values.get("height")
    if _usable("width", width) and _usable("height", height):
        return int(width), int(height)  # type: ignore[arg-type]
    return size_of(row, values["aspect"], shown_still(stills, values))


def _usable(name: str, value: Any) -> bool:
    low, high = controls.bounds(name)
    return isinstance(value, int | float) and (low or 0) <= value <= (high or value)


def _wall_cost(context: Context, values: Mapping[str, Any], request: GenerationRequest | None) -> str:
    """``9 small clips at draft speed, about 40 s.``; '' while a dial is not valid."""
    try:
        asked = wall.of(request, wall.wall_of(values)) if request else None
    except BadInput:
        return ""
    if asked is None or asked.wall is None:
        return ""
    seconds = prediction.estimated(context, asked).seconds
    time = f", about {formatting.duration(max(1.0, seconds))}" if seconds else ""
    return f'<p class="quiet">{tiles(asked)} small clips at {asked.speed} speed{time}.</p>'


def _count(values: Mapping[str, Any], stills: Stills) -> int:
    """How many clips one press of Animate makes."""
    pictures = max(1, len(stills["items"])) if values["source"] == PICTURE else 1
    return max(1, int(values.get("seeds") or 1)) * pictures


def summary(values: Mapping[str, Any], row: CheckpointRow, size: tuple[int, int], count: int) -> str:
    """``nano · 14 frames, 2.0 s · 256 × 144``: what Animate will make."""
    frames = values.get("num_frames") or row.num_frames
    fps = values.get("output_fps") or values.get("fps") or row.fps
    parts = [row.title.split(" (")[0], f"{frames} frames, {frames / fps:.1f} s", formatting.frame_size(*size)]
    clips = f"<b>{count} clips</b>" if count > 1 else ""
    inner = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    return f'<p class="summary">{clips}{inner}</p>'
