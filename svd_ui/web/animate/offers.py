"""Under the checkpoints: what the chosen one takes on this machine, what fits instead, its own values, downloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from ...catalog import CheckpointRow, short_title, trouble_of
from ...doctor import tilde
from ...engine import Device, Estimate
from ...notes import sentence, size
from ...request import GenerationRequest
from ...text_to_image_info import DOWNLOAD_BYTES
from ..context import Context
from ..controls import CLIP, hint
from ..formatting import html, roughly
from ..page import Changes
from .form import PROMPT, hints_of, preset_values
from .prediction import STAND_IN, Change, estimated, holds, said_changes
from .stills import Still

PATIENCE = 30 * 60.0
"""Seconds: nobody who tries a checkpoint out waits longer for a clip."""
NO_OWN_VALUE = {"image", "prompt", "negative_prompt", "seed", "wall", "focus_x", "focus_y"}
"""Fields that may be blank and are not the checkpoint's to fill."""


def offers(
    context: Context,
    values: Mapping[str, Any],
    estimate: Estimate,
    hints: Mapping[str, str],
    own: Change | None = None,
) -> Changes:
    """What stands under the checkpoints, and the offer of the model that makes stills where it is not on this machine.

    ``estimate`` is of the clip that the form describes, as far as it is known, ``hints`` are what its blank fields mean, ``own`` is what
    ``own_values`` found when the checkpoint was chosen.
    """
    row = context.row(values["checkpoint"])
    lacking = values["source"] == PROMPT and not context.text_to_image_present()
    return {
        "offer": _kept(own, values, row, hints) + offer(context, row, estimate),
        "found": found(context),
        "still_offer": still_offer(context.settings.text_to_image) if lacking else "",
        "make_still": gr.update(interactive=not lacking),
    }


def offer(context: Context, row: CheckpointRow, estimate: Estimate) -> str:
    """What to expect of a checkpoint; that it is slow here, and what is not; the offer to download it, with its licence.

    Of what is here and cannot be used: why.
    """
    device, here, trouble = context.device(), context.present(row), context.trouble(row)
    slow = too_slow(estimate if estimate.seconds else _plain(context, row), device)
    facts = {
        "what": "" if here or not row.is_on_hub or trouble_of(row) is not None else row.id,
        "title": row.title,
        "name": short_title(row),
        "row": row,
        "size": size(row.download_bytes),
        "trouble": sentence(trouble),
        "fetchable": context.may_operate,
        "slow": slow,
        "known": device is not None,
        "unfit": sentence(device.build_mismatch) if device else "",
        "instead": _instead(context, row) if slow else None,
    }
    return html("animate/offer", **facts) + html("quiet", text=remark(context, row))


def too_slow(estimate: Estimate, device: Device | None) -> str:
    """``about 2 days``: how long a processor works at a clip, where that is more than anybody waits for; else ''."""
    seconds = estimate.seconds or 0.0
    return f"about {roughly(seconds)}" if device and device.kind == "cpu" and seconds > PATIENCE else ""


def _instead(context: Context, row: CheckpointRow) -> dict[str, str] | None:
    """A checkpoint of this machine that makes a clip here in bearable time: what is best here, else nano."""
    for other in (context.row("auto"), context.rows().get("nano")):
        if other is None or other.id == row.id or not context.present(other):
            continue
        seconds = _plain(context, other).seconds
        if seconds is not None and seconds <= PATIENCE:
            takes = f"about {roughly(seconds)} a clip"
            return {"id": other.id, "name": short_title(other), "takes": takes, "shows": other.facts.shows}
    return None


def _plain(context: Context, row: CheckpointRow) -> Estimate:
    """Of a checkpoint's own clip."""
    return estimated(context, GenerationRequest(image=STAND_IN["ref"], checkpoint=row.id))


def remark(context: Context, row: CheckpointRow) -> str:
    """What a checkpoint's clips show; outside the hub's cache what it stands for, and what was taken for granted."""
    place = context.hub.where(row) if context.present(row) else None
    text = f"{short_title(row)} is already here as {place.name}." if place and place in row.sources else ""
    note = row.note if row.path and row.id != "nano" else ""
    return " ".join(filter(None, (row.facts.shows, text, note)))


def found(context: Context) -> str:
    """What lies on this machine and where, and what cannot be used and why. Strangers are not told of its folders."""
    if context.remote:
        return ""
    rows, hub = context.rows().values(), context.hub
    here = [(row.title, place) for row in rows if context.present(row) and (place := hub.where(row)) is not None]
    lacking = [(row.title, trouble) for row in rows if (trouble := context.trouble(row)) is not None]
    refused = [(tilde(one.path), one.why) for one in context.survey().refused]
    unusable = [(name, sentence(why)) for name, why in (*lacking, *refused)]
    return html("animate/found", here=[(title, tilde(place)) for title, place in here], unusable=unusable)


def still_offer(name: str) -> str:
    """The offer to download the model that makes stills from prompts."""
    return html("animate/still-offer", name=name, size=size(DOWNLOAD_BYTES[name]) if name in DOWNLOAD_BYTES else "")


# Values that were set for another checkpoint


def own_values(values: Mapping[str, Any], row: CheckpointRow, still: Still | None) -> Change | None:
    """What would leave to ``row`` all that is set in the form as it would not set it itself; None where nothing is.

    What the chosen preset sets is meant.
    """
    hints, meant = hints_of(values, row, still), preset_values(values["preset"], row)
    names = [name for name in CLIP.fields if name in values and name not in NO_OWN_VALUE and CLIP[name].may_be_blank]
    set_here = {name: values[name] for name in names if values[name] not in (None, "")}
    foreign = {
        name: value
        for name, value in set_here.items()
        if hint(name, value) != hints.get(name, "") and meant.get(name) != value
    }
    if not foreign:
        return None
    foreign |= {name: values[name] for name in ("width", "height") if {"width", "height"} & foreign.keys()}
    chosen = {"checkpoint": values["checkpoint"]}
    return {"before": chosen | foreign, "after": chosen | {name: CLIP.blank(name) for name in foreign}}


def both_sides(value: Any) -> Change | None:
    """What the browser kept of that, where it can be such a change."""
    told = value if isinstance(value, dict) else {}
    before, after = told.get("before"), told.get("after")
    return {"before": before, "after": after} if isinstance(before, dict) and isinstance(after, dict) else None


def _kept(own: Change | None, values: Mapping[str, Any], row: CheckpointRow, hints: Mapping[str, str]) -> str:
    """Which values stay from before, and the button that leaves them to the checkpoint; then what that changed."""
    if own is None:
        return ""
    if all(values.get(name) == value for name, value in own["before"].items()):
        return html("animate/own", kept=_instead_of(own["before"], row, hints), name=short_title(row))
    changes = said_changes(own, hints, row.facts.labels) if holds(own, values) else ""
    return html("animate/changed", changes=changes, back="unown") if changes else ""


def _instead_of(before: Mapping[str, Any], row: CheckpointRow, hints: Mapping[str, str]) -> list[str]:
    """``Frames 14 instead of 25`` of each value; a size is one."""
    said = {
        name: f"{row.facts.labels.get(name, CLIP.fields[name].title)} {value} instead of {hints.get(name) or 'none'}"
        for name, value in before.items()
        if name in CLIP.fields and name != "checkpoint"
    }
    if "width" in said:
        given = (before[name] or "blank" for name in ("width", "height"))
        said["width"] = f"Size {' × '.join(map(str, given))} instead of {hints['width']} × {hints['height']}"
        said.pop("height")
    return list(said.values())
