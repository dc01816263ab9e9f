"""What a clip will cost, from what earlier ones did since the start: seconds per pixel and frame."""

from __future__ import annotations

import threading

from ..catalog import PROFILES, CheckpointRow, ProfileRow, checkpoints
from ..errors import SvdUiError
from ..events import Result
from ..hub import Hub, choose
from ..request import GenerationRequest
from ..settings import Settings
from . import Device, Estimate

GIB = 1024**3
_FULL_PIXELS = 1024 * 576 * 25
"""The clip for which the figures of the profile rows were computed."""
_WEIGHTS_GIB = {"none": 4.2, "model": 2.84, "group": 0.3}
"""Part of those figures that does not shrink with the clip, by kind of offload."""
_MEMORY = 0.5
"""Weight of the newest measurement in the running mean."""


class Estimator:
    """Learns from results; knows nothing of tensors, so the page's process has one too."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._hub = settings, Hub(settings)
        self._lock = threading.Lock()
        self._rates: dict[str, dict[str, float]] = {}

    def learn(self, result: Result) -> None:
        """Take in the measured stages of a finished clip."""
        request, effective = result.request, result.effective
        if effective is None or result.video is None or not result.seconds.get("denoising"):
            return
        size = _pixel_frames(request)
        new = {
            "step": result.seconds["denoising"] / (size * _calls(request)),
            "decode": (result.seconds.get("decoding", 0.0) + result.seconds.get("writing", 0.0)) / size,
            "loading": result.seconds.get("loading", 0.0),
            "conditioning": result.seconds.get("conditioning", 0.0),
        }
        with self._lock:
            key = _key(request.checkpoint, effective.device, effective.profile)
            old = self._rates.get(key, new)
            mean = {name: _MEMORY * new[name] + (1 - _MEMORY) * old.get(name, new[name]) for name in new}
            # A cached model loads in no time: only a real load says how long one takes.
            mean["loading"] = max(new["loading"], 0.8 * old.get("loading", 0.0))
            self._rates[key] = mean

    def estimate(self, request: GenerationRequest, device: Device | None) -> Estimate:
        """Seconds and peak bytes of ``request`` on ``device``; what is not known stays None."""
        if device is None:
            return Estimate()
        try:
            row = self._row(request, device)
        except SvdUiError:
            return Estimate()
        request = request.resolved(row.defaults())
        profile = PROFILES.get(request.profile if request.profile != "auto" else device.profile)
        if profile is None:
            return Estimate()
        peak = peak_bytes(row, profile, request)
        fits = None if peak is None or device.total_bytes is None else peak <= device.total_bytes
        return Estimate(seconds=self._seconds(row, profile, request, device), peak_bytes=peak, fits=fits)

    def _row(self, request: GenerationRequest, device: Device) -> CheckpointRow:
        rows = checkpoints(self._settings)
        if request.checkpoint in rows:
            return rows[request.checkpoint]
        return choose(self._settings, self._hub, device.kind, device.total_bytes)

    def _seconds(
        self, row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, device: Device
    ) -> float | None:
        rates = self._rates.get(_key(row.id, device.name, profile.id))
        if rates is None:
            return None
        size = _pixel_frames(request)
        seconds = size * (rates["step"] * _calls(request) + rates["decode"]) + rates["conditioning"]
        return seconds if device.loaded_checkpoint == row.id else seconds + rates["loading"]


def peak_bytes(row: CheckpointRow, profile: ProfileRow, request: GenerationRequest) -> int | None:
    """The larger of denoising and decoding, scaled from the profile's row; None where no figure applies."""
    if not row.by_stability or profile.unet_gib is None or profile.decode_gib is None:
        return None
    fixed = _WEIGHTS_GIB[profile.offload]
    pixels = (request.width or row.width) * (request.height or row.height)
    frames = request.num_frames or row.num_frames
    chunk = min(request.decode_chunk_size or profile.decode_chunk_size, frames)
    denoise = fixed + max(0.0, profile.unet_gib - fixed) * pixels * frames / _FULL_PIXELS
    decode_fixed = min(fixed, profile.decode_gib)
    share = pixels * chunk / (1024 * 576 * profile.decode_chunk_size)
    decode = decode_fixed + (profile.decode_gib - decode_fixed) * share
    return int(max(denoise, decode) * GIB)


def _key(checkpoint: str, device: str, profile: str) -> str:
    return f"{checkpoint} | {device} | {profile}"


def _pixel_frames(request: GenerationRequest) -> float:
    return float((request.width or 1) * (request.height or 1) * (request.num_frames or 1))


def _calls(request: GenerationRequest) -> int:
    """U-Net calls of a clip: two a step where guidance is on."""
    guided = (request.max_guidance_scale or 1.0) > 1.0
    return (request.num_inference_steps or 1) * (2 if guided else 1)
