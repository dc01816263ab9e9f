"""Notes on a request that will run but may disappoint; shown with the result, never an obstacle."""

from __future__ import annotations

from ..catalog import CheckpointRow
from ..media.image import crop_box
from ..request import GenerationRequest


def advice(request: GenerationRequest, row: CheckpointRow, picture: tuple[int, int] | None) -> list[str]:
    """``request`` is resolved; ``picture`` is the (width, height) of the still as it was given."""
    notes = []
    frames, width, height = request.num_frames or 0, request.width or 0, request.height or 0
    if not 0.5 <= frames / row.num_frames <= 1.5:
        notes.append(f"{row.title} was trained on {row.num_frames} frames: {frames} may drift or lose detail.")
    if width % row.size_multiple or height % row.size_multiple:
        notes.append(f"{row.title} is at its best where both sides are multiples of {row.size_multiple}.")
    share = width * height / (row.width * row.height)
    if not 0.5 <= share <= 2.0:
        notes.append(f"{width}x{height} is far from the {row.width}x{row.height} of {row.title}: motion may suffer.")
    if picture is not None:
        left, top, right, bottom = crop_box(picture, width, height, request.focus_x, request.focus_y)
        if right - left < width or bottom - top < height:
            notes.append(f"The picture is small ({picture[0]}x{picture[1]}) and was enlarged to {width}x{height}.")
    return notes
