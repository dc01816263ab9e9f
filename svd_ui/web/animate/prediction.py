"""Before a run: how long it will take, how much memory it needs, and the one click to what fits. Never a guess."""

from __future__ import annotations

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
from ..formatting import NBSP, duration, gigabytes, html, memory, memory_needed
from .form import PROMPT, request_of
from .stills import Still

BASIS = {"computed": "computed, not yet measured here", "measured": "from clips made here"}
STAND_IN: Still = {"ref": "sha256:" + "0" * 64, "width": 16, "height": 9}
"""What is animated costs nothing by itself: before a picture is chosen this one stands for it."""


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
    seconds = f"About {duration(max(1.0, estimate.seconds * count))}" if estimate.seconds else ""
    known = ", ".join(part for part in (seconds, _memory(estimate, device)) if part)
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
    if not change or not _holds(change, values):
        return ""
    changes = ", ".join(
        f"{CLIP.fields[name].title}: {_shown(name, change['before'][name], hints)} → {_shown(name, value, hints)}"
        for name, value in change["after"].items()
        if change["before"][name] != value
    )
    return html("animate/changed", changes=changes)


def _holds(change: Change, values: Mapping[str, Any]) -> bool:
    """Whether the form is as the remedy left it, or on its way there: controls change one after the other."""
    before, after = change["before"], change["after"]
    known = all(values.get(name) in (before[name], value) for name, value in after.items())
    return known and any(values.get(name) == value != before[name] for name, value in after.items())


def _shown(name: str, value: Any, hints: Mapping[str, str]) -> str:
    return str(value) if value not in (None, "") else hints.get(name) or "blank"


SAVES = 0.005
"""A share of the work less than this far from the whole is the whole."""


def speed_labels(row: CheckpointRow, request: GenerationRequest | None) -> list[tuple[str, str]]:
    """(two lines to read, value) of each choice. Without a valid ``request``: for the checkpoint's own clip."""
    request = request or GenerationRequest()
    return [(f"{speed.capitalize()}\n{_cost(row, request, speed)}", speed) for _, speed in CLIP.choices("speed")]


def share(row: CheckpointRow, request: GenerationRequest, speed: str) -> float | None:
    """Operations of ``request`` at ``speed`` over those of the exact clip with the same other dials; 1 saves nothing.

    None where the checkpoint's operations are not known.
    """
    exact = {name: None for name in CLIP.fields if CLIP.approximate(name)}
    part, whole = _ratio(row, request, {"speed": speed}), _ratio(row, request, {**exact, "speed": "exact"})
    return part / whole if part and whole else None


def _ratio(row: CheckpointRow, request: GenerationRequest, update: dict[str, object]) -> float | None:
    changed = request.model_copy(update=update)
    return cost_ratio(ClipSpec.of(changed, row))


def _cost(row: CheckpointRow, request: GenerationRequest, speed: str) -> str:
    part = share(row, request, speed)
    if part is not None and part > 1 - SAVES:
        return "the full result" if speed == "exact" else "no faster here"
    about = "" if part is None else f", about {part:.2f}×"
    if speed != "exact":
        return f"approximate{about}"
    return "the full result" if part is None else f"but Advanced{about}"
