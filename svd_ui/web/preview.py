"""Everything on the left that follows from the form: the crop, what blank fields mean, the summary, offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..catalog import CheckpointRow
from ..errors import SvdUiError
from . import dials, offer, words
from .actions import shown_still
from .context import Context
from .footer import footer
from .form import PICTURE, PROMPT, request_of
from .still import Stills, finder, size_of


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
    hints: dict[str, str] = field(default_factory=dict)


def left_side(context: Context, values: Mapping[str, Any], stills: Stills) -> Left:
    """Pure reading; called whenever something that shows changes."""
    row = context.row(values["checkpoint"])
    still = shown_still(stills, values)
    size = _size(values, row, stills)
    prompting = values["source"] == PROMPT
    checkpoint_offer, still_offer, can_make = offers(context, values["checkpoint"], values["source"])
    applied = {**dials.applied(row, values.get("fps")), "width": size[0], "height": size[1]}
    return Left(
        finder=finder(stills if still else None, *size, _unit(values.get("focus_x")), _unit(values.get("focus_y"))),
        door=not prompting and still is None,
        prompt_side=prompting,
        summary=summary(context, values, row, size, stills),
        offer=checkpoint_offer,
        still_offer=still_offer,
        footer=footer(context.rows().values(), row, context.settings.text_to_image),
        can_make=can_make,
        negative=_unused(context, values, prompting),
        hints={name: dials.hint(name, value) for name, value in applied.items()},
    )


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
    low, high = dials.bounds(name)
    return isinstance(value, int | float) and (low or 0) <= value <= (high or value)


def summary(
    context: Context, values: Mapping[str, Any], row: CheckpointRow, size: tuple[int, int], stills: Stills
) -> str:
    """``nano · 14 frames · 2.0 s · 256 × 144 · about 12 s``: what Animate will do."""
    frames = values.get("num_frames") or row.num_frames
    fps = values.get("output_fps") or values.get("fps") or row.fps
    count = max(1, int(values.get("seeds") or 1)) * (max(1, len(stills["items"])) if values["source"] == PICTURE else 1)
    parts = [
        row.title.split(" (")[0],
        f"{frames} frames, {frames / fps:.1f} s",
        words.frame_size(*size),
        _time(context, values, row, stills, count),
    ]
    clips = f"<b>{count} clips</b>" if count > 1 else ""
    inner = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    return f'<p class="summary">{clips}{inner}</p>'


def _time(context: Context, values: Mapping[str, Any], row: CheckpointRow, stills: Stills, count: int) -> str:
    """How long it should take, from measured times; '' where nothing was measured or the form is not valid."""
    try:
        estimate = context.jobs.estimate(request_of(values, row, shown_still(stills, values)))
    except SvdUiError:
        return ""
    if estimate.fits is False:
        return "may not fit into memory"
    return f"about {words.duration(max(1.0, estimate.seconds * count))}" if estimate.seconds else ""
