"""How many tiles of a wall share one call of the U-Net: as many as are predicted to fit the device's memory."""

from __future__ import annotations

from ..catalog import PROFILES, CheckpointRow, ProfileRow
from ..request import GenerationRequest
from .estimates import peak_bytes

MOST = 8
MARGIN = 0.9
"""Share of the device's memory that a prediction may fill."""


def tiles_at_once(
    row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, kind: str, total_bytes: int | None
) -> int:
    """1 to ``MOST`` tiles of a resolved ``request`` on a device of ``kind`` with ``total_bytes``.

    1 on a CPU, which is as busy with one, and where the need or the memory is not known. A profile chosen for a
    device smaller than this one is held to that device's memory.
    """
    if kind == "cpu" or total_bytes is None or request.wall is None:
        return 1
    room = MARGIN * min(total_bytes, _nominal(profile) or total_bytes)
    most = min(MOST, request.wall.seeds * len(request.wall.motion_bucket_ids))
    return next((count for count in range(most, 1, -1) if _fits(row, profile, request, count, room)), 1)


def _fits(row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, count: int, room: float) -> bool:
    """Activations grow with the tiles as they do with the frames; the weights are there once."""
    longer = request.model_copy(update={"num_frames": (request.num_frames or row.num_frames) * count})
    needed = peak_bytes(row, profile, longer)
    return needed is not None and needed <= room


def _nominal(profile: ProfileRow) -> int | None:
    """Where the next larger profile begins; None for the largest."""
    larger = [row.min_bytes for row in PROFILES.values() if row.order < profile.order]
    return min(larger, default=None)
