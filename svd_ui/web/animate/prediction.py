"""Before a run: how long it will take, how much memory it needs, and the one click to what fits. Never a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from ...catalog import CheckpointRow
from ...catalog.costs import cost_ratio
from ...clip import ClipSpec
from ...engine import Device, Estimate
from ...errors import SvdUiError
from ...notes import remedy
from ...request import GenerationRequest
from ..context import Context
from ..controls import CLIP
from ..formatting import NBSP, duration, gigabytes, html, memory, memory_needed, roughly
from .form import PROMPT, request_of
from .stills import Still

BASIS = {"computed": "computed, not yet measured here", "measured": "from clips made here"}
STAND_IN: Still = {"ref": "sha256:" + "0" * 64, "width": 16, "height": 9}
"""What is animated costs nothing by itself: before a picture is chosen this one stands for it."""


AN_HOUR = 3600.0
"""Seconds from which on nobody asks for minutes."""


class Change(TypedDict):
    """What a remedy changed in the form, by control, so that it can be said and taken back."""

    before: dict[str, Any]
    after: dict[str, Any]


def asked(values: Mapping[str, Any], row: CheckpointRow, still: Still | None) -> GenerationRequest | None:
    """The clip the form describes, also before there is a picture or a prompt; None while a field is not valid."""
    if values["source"] == PROMPT and still is None:
        values = {**values, "prompt": (values.get("prompt") or "").strip() or "…"}
    try:
        return request_of(values, row, still or STAND_IN)
    except SvdUiError:
        return None


def estimated(context: Context, request: GenerationRequest | None) -> Estimate:
    """What is known about its cost; nothing where the request is not valid or cannot be judged."""
    try:
        return context.jobs.estimate(request) if request is not None else Estimate()
    except SvdUiError:
        return Estimate()


def prediction(estimate: Estimate, device: Device | None, count: int = 1) -> dict[str, str]:
    """``About 24 s, 6.9 of 8 GB (profile 8gb)`` and what it rests on; '' where nothing is known. ``count`` clips take
    so often as long.
    """
    seconds = max(1.0, (estimate.seconds or 0.0) * count)
    time = duration(seconds) if seconds < AN_HOUR else roughly(seconds)
    known = ", ".join(part for part in (f"About {time}" if estimate.seconds else "", _memory(estimate, device)) if part)
    return {"known": "" if estimate.fits is False else known, "basis": BASIS.get(estimate.basis or "", "")}


def _memory(estimate: Estimate, device: Device | None) -> str:
    needed = memory_needed(estimate.peak_bytes, device)
    on_gpu = device is not None and device.kind != "cpu"
    return f"{needed} (profile {estimate.profile})" if needed and estimate.profile and on_gpu else needed


def obstacle(estimate: Estimate, device: Device | None) -> str:
    """That it will not fit, and the button to what does; '' where nothing is known to be in the way."""
    if estimate.fits is not False:
        return ""
    need = f"This needs {gigabytes(estimate.peak_bytes)}{NBSP}GB" if estimate.peak_bytes else "This does not fit"
    have = memory(device.total_bytes) if device else ""
    kind = "memory" if device is None or device.kind == "cpu" else "VRAM"
    said = (
        f"{need}, and this device has {have.replace(' ', NBSP)} of {kind}."
        if have
        else f"{need}, more than this device has."
    )
    return html("animate/obstacle", said=said, remedy=remedy(estimate.remedy.values) if estimate.remedy else "")


def change_of(estimate: Estimate, values: Mapping[str, Any]) -> Change | None:
    """What the remedy would set in the form; None where there is none."""
    if estimate.remedy is None:
        return None
    after = {name: value for name, value in estimate.remedy.values.items() if name in values}
    return {"before": {name: values[name] for name in after}, "after": after}


def changed(change: Change | None, values: Mapping[str, Any], hints: Mapping[str, str]) -> str:
    """What a remedy changed, with the way back; '' once the visitor has moved on."""
    if not change or not holds(change, values):
        return ""
    return html("animate/changed", changes=said_changes(change, hints, {}), back="unremedy")


def said_changes(change: Change, hints: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """``Frames: 25 → 14``; ``hints`` say what blank fields mean, ``labels`` what a family calls its own."""
    return ", ".join(
        f"{labels.get(name, CLIP.fields[name].title)}: {_shown(name, before, hints)} → {_shown(name, after, hints)}"
        for name, after in change["after"].items()
        if (before := change["before"][name]) != after
    )


def holds(change: Change, values: Mapping[str, Any]) -> bool:
    """Whether the form is as the change left it, or on its way there: controls change one after the other."""
    before, after = change["before"], change["after"]
    known = all(values.get(name) in (before[name], value) for name, value in after.items())
    return known and any(values.get(name) == value != before[name] for name, value in after.items())


def _shown(name: str, value: Any, hints: Mapping[str, str]) -> str:
    return str(value) if value not in (None, "") else hints.get(name) or "blank"


SAVES = 0.005
"""A share of the work less than this far from the whole is the whole."""
SPEEDS = {"exact": "Full quality", "fast": "Fast", "draft": "Draft"}
FRACTIONS = (
    (1 / 10, "a tenth of"), (1 / 8, "an eighth of"), (1 / 6, "a sixth of"), (1 / 5, "a fifth of"),
    (1 / 4, "a quarter of"), (1 / 3, "a third of"), (2 / 5, "two fifths of"), (1 / 2, "half"),
    (3 / 5, "three fifths of"), (2 / 3, "two thirds of"), (3 / 4, "three quarters of"), (9 / 10, "nine tenths of"),
)  # fmt: skip
Choices = list[tuple[str, str]]


def speed_labels(context: Context, row: CheckpointRow, request: GenerationRequest | None, count: int = 1) -> Choices:
    """(two lines to read, value) of each choice, in time. Without a valid ``request``: for the checkpoint's own clip."""
    wanted = request or GenerationRequest(image=STAND_IN["ref"], checkpoint=row.id)
    seconds = {speed: (estimated(context, at(wanted, speed)).seconds or 0.0) * count for speed in SPEEDS}
    return [(f"{SPEEDS[speed]}\n{_takes(speed, seconds, share(row, wanted, speed))}", speed) for speed in SPEEDS]


def at(request: GenerationRequest, speed: str) -> GenerationRequest:
    """The same clip at another speed."""
    return request.model_copy(update={"speed": speed})


def share(row: CheckpointRow, request: GenerationRequest, speed: str) -> float | None:
    """Operations of ``request`` at ``speed`` over those of the exact clip with the same other dials; 1 saves nothing.

    None where the checkpoint's operations are not known.
    """
    by_hand = {name: None for name in CLIP.fields if CLIP.approximate(name)}
    part = cost_ratio(ClipSpec.of(at(request, speed), row))
    whole = cost_ratio(ClipSpec.of(at(request, "exact").model_copy(update=by_hand), row))
    return part / whole if part and whole else None


def _takes(speed: str, seconds: Mapping[str, float], part: float | None) -> str:
    """What a choice costs: ``about 90 s``; ``40 instead of 90 s``, or ``half the time`` where no time is known."""
    own, full = (roughly(seconds[name]).replace(" ", NBSP) if seconds[name] else "" for name in (speed, "exact"))
    whole = part is None or part > 1 - SAVES
    if speed == "exact":
        time = f"about {own}" if own else "all steps" if whole else part_of_time(part or 1.0)
        return time if whole else f"{time}, cut by Advanced"
    if part is not None and whole:
        return "no faster here"
    if own and own != full:
        count, unit = own.split(NBSP)
        return f"{count if full.endswith(unit) else own} instead of {full}"
    return part_of_time(part) if part else "approximate"


def part_of_time(part: float) -> str:
    """``half the time``: the plainest fraction near a share of the work."""
    return f"{min(FRACTIONS, key=lambda known: abs(math.log(known[0] / part)))[1]} the time"
