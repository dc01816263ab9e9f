"""Memory profiles as rows, and the ladder they form."""

from __future__ import annotations

from typing import Literal

from ..request import Frozen


class ProfileRow(Frozen):
    """How a clip is fitted into memory. Figures are computed for SVD-XT at 1024x576, 25 frames (GiB)."""

    id: str
    title: str
    order: int
    offload: Literal["none", "model", "group"] = "none"
    guidance_in_turn: bool = False
    forward_chunking: bool = False
    decode_chunk_size: int = 8
    min_bytes: int = 0
    unet_gib: float | None = None
    decode_gib: float | None = None


GB = 1_000_000_000
PROFILES: dict[str, ProfileRow] = {
    row.id: row
    for row in (
        ProfileRow(
            id="24gb",
            title="24 GB: everything resident",
            order=0,
            decode_chunk_size=14,
            min_bytes=22 * GB,
            unet_gib=11.9,
            decode_gib=20.0,
        ),
        ProfileRow(
            id="16gb",
            title="16 GB: resident, decode 8 at a time",
            order=1,
            decode_chunk_size=8,
            min_bytes=15 * GB,
            unet_gib=11.9,
            decode_gib=13.2,
        ),
        ProfileRow(
            id="12gb",
            title="12 GB: resident, chunked forward",
            order=2,
            forward_chunking=True,
            decode_chunk_size=5,
            min_bytes=11 * GB,
            unet_gib=8.6,
            decode_gib=9.8,
        ),
        ProfileRow(
            id="8gb",
            title="8 GB: model offload, guidance in turn",
            order=3,
            offload="model",
            guidance_in_turn=True,
            decode_chunk_size=4,
            min_bytes=7 * GB,
            unet_gib=6.7,
            decode_gib=4.7,
        ),
        ProfileRow(
            id="6gb",
            title="6 GB: and chunked forward",
            order=4,
            offload="model",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=2,
            min_bytes=5_500_000_000,
            unet_gib=5.1,
            decode_gib=2.4,
        ),
        ProfileRow(
            id="4gb",
            title="4 GB: streamed weights",
            order=5,
            offload="group",
            guidance_in_turn=True,
            forward_chunking=True,
            decode_chunk_size=1,
            min_bytes=0,
            unet_gib=2.4,
            decode_gib=1.3,
        ),
        ProfileRow(id="cpu", title="CPU", order=6, guidance_in_turn=True, decode_chunk_size=8),
    )
}


def smaller_profile(id: str) -> ProfileRow | None:
    """The next rung down the ladder, or None at its foot."""
    ladder = [row for row in PROFILES.values() if row.id != "cpu"]
    below = [row for row in ladder if row.order > PROFILES[id].order]
    return below[0] if below else None


def profile_for(device_kind: str, total_bytes: int | None) -> tuple[ProfileRow, str]:
    """The profile ``auto`` means on a device, and why."""
    if device_kind == "cpu":
        return PROFILES["cpu"], "no GPU in use"
    if total_bytes is None:
        return PROFILES["8gb"], f"memory of {device_kind} is not known; not measured"
    for row in PROFILES.values():
        if row.id != "cpu" and total_bytes >= row.min_bytes:
            return row, f"{total_bytes / GB:.0f} GB on the device"
    return PROFILES["4gb"], "small device"
