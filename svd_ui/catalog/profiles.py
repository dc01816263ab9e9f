"""Memory profiles as rows, and the ladder they form."""

from __future__ import annotations

from typing import Literal

from ..clip import ClipSpec
from ..notes import Note
from ..request import Frozen, GenerationRequest
from .checkpoint import STABILITY_ROWS, CheckpointRow
from .costs import peak_bytes


class ProfileRow(Frozen):
    """How a clip is fitted into memory.

    What a clip needs under it says ``costs.peak_bytes``. ``min_bytes`` is the card a rung is meant for, for models whose
    costs are not known.
    """

    id: str
    title: str
    order: int
    offload: Literal["none", "model", "group"] = "none"
    guidance_in_turn: bool = False
    forward_chunking: bool = False
    decode_chunk_size: int = 8
    min_bytes: int = 0


GB = 1_000_000_000
REFERENCE: CheckpointRow = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
PROFILES: dict[str, ProfileRow] = {
    row.id: row
    for row in (
        ProfileRow(
            id="24gb",
            title="24 GB: everything resident",
            order=0,
            decode_chunk_size=18,
            min_bytes=22 * GB,
        ),
        ProfileRow(
            id="16gb",
            title="16 GB: resident, decode 12 at a time",
            order=1,
            decode_chunk_size=12,
            min_bytes=15 * GB,
        ),
        ProfileRow(
            id="12gb",
            title="12 GB: resident, guidance in turn",
            order=2,
            guidance_in_turn=True,
            decode_chunk_size=6,
            min_bytes=11 * GB,
        ),
        ProfileRow(
            id="8gb",
            title="8 GB: model offload, guidance in turn",
            order=3,
            offload="model",
            guidance_in_turn=True,
            decode_chunk_size=6,
            min_bytes=7 * GB,
        ),
        ProfileRow(
            id="6gb",
            title="6 GB: and chunked forward",
            order=4,
            offload="model",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=4,
            min_bytes=5_500_000_000,
        ),
        ProfileRow(
            id="4gb",
            title="4 GB: streamed weights",
            order=5,
            offload="group",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=2,
            min_bytes=0,
        ),
        ProfileRow(id="cpu", title="CPU", order=6, guidance_in_turn=True, decode_chunk_size=8),
    )
}


def smaller_profile(id: str) -> ProfileRow | None:
    """The next rung down the ladder, or None at its foot."""
    ladder = [row for row in PROFILES.values() if row.id != "cpu"]
    below = [row for row in ladder if row.order > PROFILES[id].order]
    return below[0] if below else None


CONTEXT_BYTES = 820 * 2**20
"""What the driver, its libraries and an allocator's gaps take beside what is counted (0.8 GiB)."""
SPARE = 1.1
"""What ``auto`` leaves beyond a predicted peak, which is within that of the ones measured on a card."""
SHARED = frozenset({"cpu", "mps"})
"""Devices whose memory is the host's: weights are never moved."""


def room(kind: str, total_bytes: int | None, free_bytes: int | None = None) -> int | None:
    """Bytes that a clip may use; None where not even the total is known.

    ``free_bytes`` counts what this process holds as free; it only tells of others on a device of its own.
    """
    if total_bytes is None:
        return None
    if kind in SHARED or free_bytes is None:
        return total_bytes - CONTEXT_BYTES
    return min(total_bytes - CONTEXT_BYTES, free_bytes)


def placed(profile: ProfileRow, kind: str) -> ProfileRow:
    """``profile`` as it works on a device: weights stay in place where it shares the host's memory."""
    return profile.model_copy(update={"offload": "none"}) if kind in SHARED else profile


def profile_for(
    kind: str,
    total_bytes: int | None,
    free_bytes: int | None = None,
    clip: ClipSpec | None = None,
    value_bytes: int | None = None,
) -> tuple[ProfileRow, Note]:
    """The profile ``auto`` means for ``clip`` on a device, and why: the first whose peak fits.

    Without a clip SVD-XT's own is meant; ``value_bytes`` is the size of a number where that is not two. Where the checkpoint's cost is not known the
    size of the card decides.
    """
    if kind == "cpu":
        return PROFILES["cpu"], Note.of("no_gpu")
    space = room(kind, total_bytes, free_bytes)
    if total_bytes is None or space is None:
        return PROFILES["8gb"], Note.of("memory_unknown", device=kind)
    clip, total_gb = clip or ClipSpec.of(GenerationRequest(), REFERENCE), total_bytes / GB
    ladder = [profile for profile in PROFILES.values() if profile.id != "cpu"]
    for profile in ladder:
        peak = peak_bytes(clip, placed(profile, kind), value_bytes)
        if peak is None:
            by_size = next((one for one in ladder if total_bytes >= one.min_bytes), ladder[-1])
            return by_size, Note.of("needs_unknown", total_gb=total_gb)
        if peak * SPARE <= space:
            return profile, Note.of("clip_needs", needed_gb=peak / GB, total_gb=total_gb)
    return ladder[-1], Note.of("smallest_profile", total_gb=total_gb)
