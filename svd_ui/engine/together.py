"""How many tiles of a wall share one call of the U-Net: as many as are predicted to fit the device's memory."""

from __future__ import annotations

from ..catalog import PROFILES, CheckpointRow, ProfileRow
from ..catalog.costs import peak_bytes
from ..catalog.profiles import room
from ..request import GenerationRequest

MOST = 8


def tiles_at_once(
    row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, kind: str, total_bytes: int | None
) -> int:
    """1 to ``MOST`` tiles of a resolved ``request`` on a device of ``kind`` with ``total_bytes``.

    1 on a CPU, which one keeps as busy as several (nano, four tiles of two steps on one core: 3.8, 3.8 and 3.9 s of
    its time for one, two and four at once), and where the need or the memory is not known. A profile meant
    for a smaller device than this one is held to that device's memory.
    """
    nominal = min((one.min_bytes for one in PROFILES.values() if one.order < profile.order), default=total_bytes)
    space = room(kind, None if total_bytes is None or nominal is None else min(total_bytes, nominal))
    if kind == "cpu" or space is None or request.wall is None:
        return 1
    most = min(MOST, request.wall.seeds * len(request.wall.motion_bucket_ids))
    return next((count for count in range(most, 1, -1) if _fits(row, profile, request, count, space)), 1)


def _fits(row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, count: int, space: int) -> bool:
    """Activations grow with the tiles as they do with the frames; the weights are there once."""
    longer = request.model_copy(update={"num_frames": (request.num_frames or row.num_frames) * count})
    needed = peak_bytes(row, profile, longer)
    return needed is not None and needed <= space
