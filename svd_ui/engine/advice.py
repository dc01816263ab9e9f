"""Notes on a request that will run but may disappoint; shown with the result, never an obstacle."""

from __future__ import annotations

from ..catalog.costs import cost_ratio
from ..clip import ClipSpec
from ..media.image import crop_box


def advice(clip: ClipSpec, picture: tuple[int, int] | None) -> list[str]:
    """``picture`` is the (width, height) of the still as it was given."""
    notes, row = approximate(clip), clip.row
    frames, width, height = clip.num_frames, clip.width, clip.height
    if not 0.5 <= frames / row.num_frames <= 1.5:
        notes.append(f"{row.title} was trained on {row.num_frames} frames: {frames} may drift or lose detail.")
    if width % row.size_multiple or height % row.size_multiple:
        notes.append(f"{row.title} is at its best where both sides are multiples of {row.size_multiple}.")
    share = width * height / (row.width * row.height)
    if not 0.5 <= share <= 2.0:
        notes.append(f"{width}x{height} is far from the {row.width}x{row.height} of {row.title}: motion may suffer.")
    if picture is not None:
        left, top, right, bottom = crop_box(picture, width, height, clip.request.focus_x, clip.request.focus_y)
        if right - left < width or bottom - top < height:
            notes.append(f"The picture is small ({picture[0]}x{picture[1]}) and was enlarged to {width}x{height}.")
    return notes


def approximate(clip: ClipSpec) -> list[str]:
    """One note that names every approximation in force, and what the clip costs with them; none for an exact clip."""
    family, steps = clip.row.facts, clip.num_inference_steps
    found = family.approximations(clip)
    if clip.schedule == "ays":
        found.append(f"the AYS schedule in {steps} steps")
    elif clip.request.speed != "exact" and steps < clip.row.num_inference_steps:
        found.append(f"{steps} instead of {clip.row.num_inference_steps} steps")
    if clip.cache_interval > 1:
        found.append(f"features reused, all layers computed at one step in {clip.cache_interval}")
    if clip.guided:
        low, high = clip.guidance_sigma_min, clip.guidance_sigma_max
        found += [f"no guidance above sigma {high:g}"] if high is not None else []
        found += [f"no guidance at sigma {low:g} and below"] if low is not None else []
    if not found:
        return []
    ratio = cost_ratio(clip)
    cost = "" if ratio is None else f" About {ratio:.0%} of the exact clip's work."
    return [f"Approximate: {'; '.join(found)}.{cost}", *family.advice(clip)]
