"""Notes on a request that will run but may disappoint; shown with the result, never an obstacle."""

from __future__ import annotations

from ..catalog.costs import cost_ratio
from ..clip import ClipSpec
from ..media.image import crop_box
from ..notes import Note


def advice(clip: ClipSpec, picture: tuple[int, int] | None) -> list[Note]:
    """``picture`` is the (width, height) of the still as it was given."""
    notes, row, title = approximate(clip), clip.row, clip.row.title
    frames, width, height = clip.num_frames, clip.width, clip.height
    if not 0.5 <= frames / row.num_frames <= 1.5:
        notes.append(Note.of("frames_untrained", title=title, trained=row.num_frames, num_frames=frames))
    if width % row.size_multiple or height % row.size_multiple:
        notes.append(Note.of("size_not_a_multiple", title=title, multiple=row.size_multiple))
    share = width * height / (row.width * row.height)
    if not 0.5 <= share <= 2.0:
        trained = f"{row.width}x{row.height}"
        notes.append(Note.of("size_far_from_trained", title=title, width=width, height=height, trained=trained))
    if picture is not None:
        left, top, right, bottom = crop_box(picture, width, height, clip.request.focus_x, clip.request.focus_y)
        if right - left < width or bottom - top < height:
            given = f"{picture[0]}x{picture[1]}"
            notes.append(Note.of("picture_enlarged", given=given, width=width, height=height))
    return notes


def approximate(clip: ClipSpec) -> list[Note]:
    """One note that names every approximation in force, and what the clip costs with them; none for an exact clip."""
    family, steps = clip.row.facts, clip.num_inference_steps
    found = family.approximations(clip)
    if clip.schedule == "ays":
        found.append(Note.of("ays_schedule", steps=steps))
    elif clip.request.speed != "exact" and steps < clip.row.num_inference_steps:
        found.append(Note.of("fewer_steps", steps=steps, full=clip.row.num_inference_steps))
    if clip.cache_interval > 1:
        found.append(Note.of("features_reused", interval=clip.cache_interval))
    if clip.guided:
        low, high = clip.guidance_sigma_min, clip.guidance_sigma_max
        found += [Note.of("unguided_above", sigma=high)] if high is not None else []
        found += [Note.of("unguided_below", sigma=low)] if low is not None else []
    if not found:
        return []
    ratio = cost_ratio(clip)
    cost = {} if ratio is None else {"cost": Note.of("cost_share", share=ratio)}
    return [Note.of("approximate", facts=found, **cost), *family.advice(clip)]
