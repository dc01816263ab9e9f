"""How much memory a clip will need. How long it takes is learnt by the job service from what clips took."""

from __future__ import annotations

from ..catalog import PROFILES, CheckpointRow, ProfileRow, checkpoints
from ..errors import SvdUiError
from ..hub import Hub, choose
from ..request import GenerationRequest
from ..settings import Settings
from . import Device, Estimate

GIB = 1024**3
_NATIVE = 1024 * 576
_FRAMES = 25
"""The clip for which the figures of the profile rows were computed."""
_WEIGHTS_GIB = {"none": 4.2, "model": 2.84, "group": 0.3}
"""The part of those figures that does not shrink with the clip, by kind of offload."""


def estimate(settings: Settings, hub: Hub, request: GenerationRequest, device: Device | None) -> Estimate:
    """Peak bytes of ``request`` on ``device`` and whether they fit; what is not known stays None."""
    if device is None:
        return Estimate()
    profile = PROFILES.get(request.profile if request.profile != "auto" else device.profile)
    try:
        row = _row(settings, hub, request, device)
    except SvdUiError:
        return Estimate()
    peak = peak_bytes(row, profile, request.resolved(row.defaults(request.speed))) if profile is not None else None
    fits = None if peak is None or device.total_bytes is None else peak <= device.total_bytes
    return Estimate(peak_bytes=peak, fits=fits)


def peak_bytes(row: CheckpointRow, profile: ProfileRow, request: GenerationRequest) -> int | None:
    """The larger of denoising and decoding, scaled from the profile's row; None where it has no figure."""
    if not row.by_stability or profile.unet_gib is None or profile.decode_gib is None:
        return None
    pixels = (request.width or row.width) * (request.height or row.height) / _NATIVE
    frames = request.num_frames or row.num_frames
    chunk = min(request.decode_chunk_size or profile.decode_chunk_size, frames)
    denoising = _scaled(profile, profile.unet_gib, pixels * frames / _FRAMES)
    decoding = _scaled(profile, profile.decode_gib, pixels * chunk / profile.decode_chunk_size)
    return int(max(denoising, decoding) * GIB)


def _scaled(profile: ProfileRow, gib: float, share: float) -> float:
    weights = min(_WEIGHTS_GIB[profile.offload], gib)
    return weights + (gib - weights) * share


def _row(settings: Settings, hub: Hub, request: GenerationRequest, device: Device) -> CheckpointRow:
    rows = checkpoints(settings)
    if request.checkpoint in rows:
        return rows[request.checkpoint]
    return choose(settings, hub, device.kind, device.total_bytes)
