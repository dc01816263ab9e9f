"""The speed dial: every choice says what it gives and what it costs for this checkpoint."""

from __future__ import annotations

from ..catalog import CheckpointRow
from ..catalog.costs import cost_ratio
from ..clip import ClipSpec
from ..request import GenerationRequest
from . import dials

SAVES = 0.005
"""A share of the work less than this far from the whole is the whole."""


def labels(row: CheckpointRow, request: GenerationRequest | None) -> list[tuple[str, str]]:
    """(two lines to read, value) of each choice. Without a valid ``request``: for the checkpoint's own clip."""
    request = request or GenerationRequest()
    return [(f"{speed.capitalize()}\n{_cost(row, request, speed)}", speed) for _, speed in dials.choices("speed")]


def share(row: CheckpointRow, request: GenerationRequest, speed: str) -> float | None:
    """Operations of ``request`` at ``speed`` over those of the exact clip with the same other dials; 1 saves nothing.

    None where the checkpoint's operations are not known.
    """
    exact = {name: None for name in dials.FIELDS if dials.approximate(name)}
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
