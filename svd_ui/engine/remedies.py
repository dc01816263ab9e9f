"""What to change so that a clip fits into memory, with the least taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..catalog import CheckpointRow, ProfileRow
from ..catalog.profiles import PROFILES, SHARED
from ..request import GenerationRequest
from . import Remedy

CHUNKS = (8, 4, 2, 1)
SMALLEST_AREA = 0.25
"""Of the checkpoint's own: below it pictures fall apart, so frames go first."""

Values = dict[str, Any]
Fits = Callable[[GenerationRequest], bool]


def remedy(
    request: GenerationRequest,
    full: GenerationRequest,
    row: CheckpointRow,
    profile: ProfileRow,
    fits: Fits,
    kind: str,
) -> Remedy | None:
    """The first change of ``request`` that ``fits``: a smaller profile, decode chunk, size, then fewer frames.

    Each comes on top of those before it where they do not suffice; what turns out not to be needed is left out.
    ``full`` is ``request`` resolved, ``profile`` what it would run under. None where nothing helps.
    """
    taken: Values = {}
    for ways in (
        _profiles(request, profile, kind),
        _chunks(full, profile),
        _sizes(full, row),
        _frames(full),
    ):
        smallest: Values = {}
        for smallest in ways:
            if fits(_changed(request, taken | smallest)):
                return _named(_needed(request, taken | smallest, fits), row)
        taken |= smallest
    return None


def _profiles(request: GenerationRequest, profile: ProfileRow, kind: str) -> Iterator[Values]:
    """``auto`` has looked through them already; where memory is shared they all keep everything in place."""
    if request.profile == "auto" or kind in SHARED:
        return
    for row in PROFILES.values():
        if row.order > profile.order and row.id != "cpu":
            yield {"profile": row.id}


def _chunks(full: GenerationRequest, profile: ProfileRow) -> Iterator[Values]:
    now = min(full.decode_chunk_size or profile.decode_chunk_size, full.num_frames or 1)
    for chunk in CHUNKS:
        if chunk < now:
            yield {"decode_chunk_size": chunk}


def _sizes(full: GenerationRequest, row: CheckpointRow) -> Iterator[Values]:
    """Ever smaller, of the same aspect as nearly as ``size_multiple`` allows."""
    width, height = full.width or row.width, full.height or row.height
    unit = row.size_multiple
    for wide in range((width - 1) // unit * unit, 63, -unit):
        high = max(round(wide * height / width / unit) * unit, unit)
        if high < 64 or wide * high < SMALLEST_AREA * row.width * row.height:
            return
        if high <= height:
            yield {"width": wide, "height": high}


def _frames(full: GenerationRequest) -> Iterator[Values]:
    for frames in range((full.num_frames or 2) - 1, 1, -1):
        yield {"num_frames": frames}


def _needed(request: GenerationRequest, values: Values, fits: Fits) -> Values:
    """``values`` without the changes that are not needed, the first ones tried first."""
    for names in (("profile",), ("decode_chunk_size",), ("width", "height")):
        fewer = {name: value for name, value in values.items() if name not in names}
        if fewer != values and fewer and fits(_changed(request, fewer)):
            values = fewer
    return values


def _changed(request: GenerationRequest, values: Values) -> GenerationRequest:
    return request.model_copy(update=values)


def _named(values: Values, row: CheckpointRow) -> Remedy:
    parts = []
    if "profile" in values:
        parts.append(f"use the {values['profile'].removesuffix('gb')} GB profile")
    if "decode_chunk_size" in values:
        chunk = values["decode_chunk_size"]
        parts.append(f"decode {chunk} frame{'s' if chunk > 1 else ''} at a time")
    if "width" in values:
        parts.append(f"make it {values['width']}x{values['height']}")
    if "num_frames" in values:
        parts.append(f"make {values['num_frames']} frames")
    text = " and ".join(parts)
    return Remedy(values=values, text=text[0].upper() + text[1:])
