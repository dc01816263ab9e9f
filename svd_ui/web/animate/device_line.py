"""The page's status line: the devices, what each does, how they are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...engine import Device
from ...jobs.rotation import DeviceState, in_words
from ...notes import sentence
from ..formatting import html, memory


def status(devices: Sequence[DeviceState]) -> str:
    """The devices and their memory in one line; behind it what each does where that says more, how they are used, and why."""
    known = [one.device for one in devices if one.device is not None]
    resting = sum(one.doing == "resting" for one in devices)
    if not known and not resting:
        return html("status", parts=[])
    loaded = next((device for device in known if device.loaded_checkpoint), None)
    parts = _about(known[0]) if len(devices) == 1 and known else _together(known)
    parts += [f"{resting} resting" if len(devices) > 1 else "resting"] if resting else []
    says_more = len(devices) > 1 or resting or known[0].second is not None
    each = [_line(one) for one in devices] if says_more else []
    model = f"{loaded.loaded_checkpoint} loaded" if loaded else "no model loaded"
    used = [*each, model, *(_reasons(known[0]) if known else [])]
    return html("status", parts=parts, loaded=loaded is not None, resting=resting, used=used)


def _about(device: Device) -> list[str]:
    """Its name, and its memory where that is known."""
    total = memory(device.total_bytes)
    if total and device.free_bytes is not None:
        total = f"{device.free_bytes / 2**30:.0f} of {total} free"
    return [device.name, *filter(None, [total])]


def _together(devices: Sequence[Device]) -> list[str]:
    """``2 × NVIDIA L4``: several of one name once."""
    names = Counter(device.name for device in devices)
    return [f"{count} × {name}" if count > 1 else name for name, count in names.items()] or ["no device"]


def _line(one: DeviceState) -> str:
    """``cuda:1, NVIDIA L4, 20 of 22 GB free: making a clip``."""
    device = one.device
    known = [] if device is None else _about(device)
    second = [f"with {device.second.name}"] if device is not None and device.second is not None else []
    return f"{', '.join([one.name, *known, *second])}: {in_words(one)}"


def _reasons(device: Device) -> list[str]:
    """Why the device is used as it is."""
    profile = f"profile {device.profile}" + (f": {sentence(device.profile_reason)}" if device.profile_reason else "")
    attention = f"attention {device.attention}" if device.attention else ""
    attention += f": {sentence(device.attention_reason)}" if attention and device.attention_reason else ""
    unmeasured = "" if device.measured else "not measured on this kind of device"
    return [part for part in (profile, attention, f"runs in {device.dtype}", unmeasured) if part]
