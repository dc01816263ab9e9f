"""The draft wall: its two dials on the page, and its tiles, each one click from the full clip."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from pydantic import ValidationError

from ...errors import BadInput
from ...jobs import Job
from ...jobs.status import file_of
from ...request import GenerationRequest, Wall
from .. import icons
from ..controls import range_text
from ..formatting import Files, clip_url

TOGGLE_JS = "svdui.wallToggle(element, watch)"
FIELDS = Wall.model_fields
TITLE = GenerationRequest.model_fields["wall"].title or ""
CONTROLS = {"seeds": "wall_seeds", "motion_bucket_ids": "wall_motions"}
"""Field of a wall -> control of the form."""


def shown(wall: Wall) -> dict[str, Any]:
    """A wall as its controls hold it."""
    return {"wall_seeds": wall.seeds, "wall_motions": ", ".join(map(str, wall.motion_bucket_ids))}


def wall_of(values: Mapping[str, Any]) -> Wall:
    """The wall its two dials describe. Raises BadInput naming the dial."""
    motions = re.findall(r"[^\s,;]+", str(values.get("wall_motions") or ""))
    try:
        return Wall.model_validate({"seeds": values.get("wall_seeds"), "motion_bucket_ids": motions})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = str(first["loc"][0]) if first["loc"] else "motion_bucket_ids"
        raise BadInput(_sentence(at, first.get("ctx") or {}), field=CONTROLS[at]) from error


def _sentence(at: str, context: Mapping[str, Any]) -> str:
    if isinstance(context.get("error"), ValueError):
        return f"{context['error']}."
    if at == "seeds":
        low, high = (next(getattr(m, end) for m in FIELDS[at].metadata if hasattr(m, end)) for end in ("ge", "le"))
        return f"A whole number from {low} to {high}."
    count = next(m.max_length for m in FIELDS[at].metadata if hasattr(m, "max_length"))
    return f"Up to {count} whole numbers, {range_text('motion_bucket_id')}, with commas between them."


def of(request: GenerationRequest, wall: Wall) -> GenerationRequest:
    """The request of a wall from that of a clip."""
    return request.model_copy(update={"wall": wall, "speed": "draft"})


def toggle(values: Mapping[str, Any]) -> str:
    """``3 × 3``: the button that opens the dials of the wall."""
    try:
        wall = wall_of(values)
        text = f"{wall.seeds} × {len(wall.motion_bucket_ids)}"
        said = f"{wall.seeds} seeds by {len(wall.motion_bucket_ids)} motions"
    except BadInput:
        text, said = "…", "not valid yet"
    return (
        '<button type="button" class="wall-toggle" aria-expanded="false" aria-controls="wall-choice" '
        f'aria-label="{text} tiles, {said}: change" title="Seeds × motions of the wall">{text}{icons.CHEVRON}</button>'
    )


def tiles(job: Job, files: Files) -> str:
    """The grid. Sources stand in the markup without being loaded: a script plays what comes into view."""
    assert job.result is not None
    request = job.result.request
    columns = len(request.wall.motion_bucket_ids) if request.wall else 3
    cells = "".join(
        _tile(job, index, f"seed {tile.seed}, motion\u00a0{tile.motion_bucket_id}")
        for index, tile in enumerate(job.result.tiles)
        if files(job, file_of(index))
    )
    aspect = f"--w:{request.width or 16};--h:{request.height or 9};--columns:{min(columns, 4)}"
    return f'<div class="wall" role="list" style="{aspect}">{cells}</div>'


def _tile(job: Job, index: int, name: str) -> str:
    place = f'data-id="{escape(job.id)}" data-at="{index}"'
    return (
        f'<div class="tile" role="listitem"><button type="button" class="tile-full" data-act="full" {place} '
        f'aria-label="{name}: render in full" title="Render in full">'
        f'<video src="{clip_url(job, file_of(index))}" muted loop playsinline preload="none" tabindex="-1"></video>'
        f'<span class="tile-do">{icons.EXPAND}Render in full</span></button>'
        f'<div class="tile-cap"><span>{name}</span><button type="button" class="icon-btn" data-act="dials" {place} '
        f'aria-label="Use the dials of {name}" title="Use these dials">{icons.DIALS}</button></div></div>'
    )


def badge(wall: Wall) -> str:
    """What a wall is called where there is little room."""
    return f"Wall {wall.seeds} × {len(wall.motion_bucket_ids)}"


def origin(job: Job | None, others: Iterable[Job]) -> str | None:
    """The id of the wall that ``job`` renders a tile of, if it is among ``others``."""
    if job is None or job.request.wall or not job.request.image:
        return None
    wanted = (job.request.seed, job.request.motion_bucket_id)
    for other in others:
        made = other.result
        if made and made.image == job.request.image and wanted in {(t.seed, t.motion_bucket_id) for t in made.tiles}:
            return other.id
    return None
