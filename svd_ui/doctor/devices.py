"""Every device of ``SVD_UI_DEVICES``: a worker is asked about each, and a server that runs what it does with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..errors import SvdUiError, without_secrets
from ..jobs.rotation import DeviceState, in_words
from ..settings import Settings
from .finding import Finding, Patient

if TYPE_CHECKING:
    from ..engine.worker import WorkerEngine

DEVICE_SECONDS = 60.0


def look(settings: Settings) -> tuple[DeviceState, ...]:
    """What a worker says of each device, all asked at the same time; ended afterwards.

    A server that runs knows more: what its devices do, and why one rests.
    """
    served = {one.name: one for one in _served(settings)}
    states = _asked(settings)
    return tuple(
        one.model_copy(update={"doing": known.doing, "why": known.why or one.why, "back": known.back, "job": known.job})
        if (known := served.get(one.name)) is not None
        else one
        for one in states
    )


def _served(settings: Settings) -> tuple[DeviceState, ...]:
    from ..jobs.service import open_store, server_alive

    try:
        if not server_alive(settings):
            return ()
        with open_store(settings) as jobs:
            return jobs.devices()
    except SvdUiError:  # another finding's
        return ()


def _asked(settings: Settings) -> tuple[DeviceState, ...]:
    from ..engine.worker import WorkerEngine

    names: list[str | None] = [None if name == "auto" else name for name in settings.device_entries]
    with ExitStack() as stack:

        def ask(names: list[str | None]) -> list[DeviceState]:
            engines = [WorkerEngine(settings, name) for name in names]
            for engine in engines:
                stack.callback(engine.close)
                engine.start()
            end = time.monotonic() + DEVICE_SECONDS
            return [_state(name, engine, end) for name, engine in zip(names, engines, strict=True)]

        found = ask(names)
        others = [name for one in found if one.device is not None for name in one.device.others]
        return (*found, *ask(list(others)))


def _state(name: str | None, engine: WorkerEngine, end: float) -> DeviceState:
    """What ``engine`` has said by ``end`` (of the monotonic clock)."""
    while engine.describe() is None and not engine.trouble and engine.pid and time.monotonic() < end:
        time.sleep(0.05)
    device = engine.describe()
    known = name or (device.place if device is not None else "") or "auto"
    if device is not None:
        return DeviceState(name=known, doing="free", device=device)
    return DeviceState(name=known, doing="resting", why=engine.trouble or "it did not answer")


def usable(patient: Patient) -> Iterator[Finding]:
    """Where some work and others do not; where none does ``worker_silent`` says so."""
    logs = str(patient.settings.data_dir / "logs")
    for one in patient.devices:
        if patient.device is not None and one.doing == "resting":
            code = "device_absent" if one.device is None else "device_resting"
            yield Finding(code, {"name": one.name, "why": one.why.rstrip("."), "logs": logs})
    if patient.settings.repeated_devices:
        yield Finding("device_repeated", {"names": ", ".join(patient.settings.repeated_devices)}, wrong=False)


def facts_of(state: DeviceState) -> dict[str, Any]:
    """For people and programs: the device, and what it does in words."""
    device, second = state.device, state.device.second if state.device is not None else None
    return {
        "name": state.name,
        "device": device.name if device is not None else None,
        "second": second.name if second is not None else None,
        "total_bytes": device.total_bytes if device is not None else None,
        "free_bytes": device.free_bytes if device is not None else None,
        "doing": state.doing,
        "said": without_secrets(in_words(state)),
    }
