"""Settings => a running job service, as the page and ``serve`` use it."""

from __future__ import annotations

from ..engine.worker import WorkerEngine
from ..settings import Settings
from .service import JobService


def devices(settings: Settings) -> list[str | None]:
    """One entry per worker; None lets the worker choose its device."""
    names = [name.strip() for name in settings.devices.split(",") if name.strip()]
    return [None if name == "auto" else name for name in names] or [None]


def compose(settings: Settings, *, start: bool = True) -> JobService:
    """One supervised worker per device of ``SVD_UI_DEVICES``, and the service that keeps them busy.

    Returns at once: the workers import and look at their devices while the page is already served. Close it at the end.
    """
    engines = [WorkerEngine(settings, device) for device in devices(settings)]
    service = JobService(settings, engines)
    if start:
        for engine in engines:
            engine.start()
        service.start()
    return service
