"""Notes on a request that will run but may disappoint; shown with the result, never an obstacle."""

from __future__ import annotations

from ..catalog import CheckpointRow
from ..catalog.costs import cost_ratio
from ..media.image import crop_box
from ..notes import Note
from ..request import GenerationRequest

MOST_JUMPS = 8
"""The most steps that the authors of AnimateLCM-SVD-xt show (github.com/G-U-N/AnimateLCM: 1, 2, 4 and 8)."""


def advice(request: GenerationRequest, row: CheckpointRow, picture: tuple[int, int] | None) -> list[Note]:
    """``request`` is resolved; ``picture`` is the (width, height) of the still as it was given."""
    notes, title = approximate(request, row), row.title
    frames, width, height = request.num_frames or 0, request.width or 0, request.height or 0
    if not 0.5 <= frames / row.num_frames <= 1.5:
        notes.append(Note.of("frames_untrained", title=title, trained=row.num_frames, num_frames=frames))
    if width % row.size_multiple or height % row.size_multiple:
        notes.append(Note.of("size_not_a_multiple", title=title, multiple=row.size_multiple))
    share = width * height / (row.width * row.height)
    if not 0.5 <= share <= 2.0:
        trained = f"{row.width}x{row.height}"
        notes.append(Note.of("size_far_from_trained", title=title, width=width, height=height, trained=trained))
    if picture is not None:
        left, top, right, bottom = crop_box(picture, width, height, request.focus_x, request.focus_y)
        if right - left < width or bottom - top < height:
            given = f"{picture[0]}x{picture[1]}"
            notes.append(Note.of("picture_enlarged", given=given, width=width, height=height))
    return notes


def approximate(request: GenerationRequest, row: CheckpointRow) -> list[Note]:
    """One note that names every approximation in force, and what the clip costs with them; none for an exact clip."""
    found = []
    steps = request.num_inference_steps or row.num_inference_steps
    if row.sampler == "consistency":
        found.append(Note.of("few_step_weights"))
    if request.schedule == "ays":
        found.append(Note.of("ays_schedule", steps=steps))
    elif request.speed != "exact" and steps < row.num_inference_steps:
        found.append(Note.of("fewer_steps", steps=steps, full=row.num_inference_steps))
    if (interval := request.cache_interval or 1) > 1:
        found.append(Note.of("features_reused", interval=interval))
    if (request.max_guidance_scale or 1) > 1:
        low, high = request.guidance_sigma_min, request.guidance_sigma_max
        found += [Note.of("unguided_above", sigma=high)] if high is not None else []
        found += [Note.of("unguided_below", sigma=low)] if low is not None else []
    if not found:
        return []
    ratio = cost_ratio(row, request)
    cost = {} if ratio is None else {"cost": Note.of("cost_share", share=ratio)}
    return [Note.of("approximate", facts=found, **cost), *_too_many_jumps(row, steps)]


def _too_many_jumps(row: CheckpointRow, steps: int) -> list[Note]:
    if row.sampler != "consistency" or steps <= MOST_JUMPS:
        return []
    return [Note.of("more_steps_than_needed", title=row.title, most=MOST_JUMPS)]
