"""The service as a process runs it: with workers of this machine's devices, with replicas of a cluster, or where GPUs are lent."""

from __future__ import annotations

import logging
from functools import partial

from ..engine.worker import WorkerEngine
from ..hosting import on_zero_gpu
from ..settings import Settings
from .recovery import unlisted
from .service import JobService

log = logging.getLogger(__name__)


def devices(settings: Settings) -> list[str | None]:
    """One entry per worker; None lets the worker choose its device, and tell which others there are."""
    if settings.repeated_devices:
        log.warning("%s: named before, and left out", ", ".join(settings.repeated_devices))
    return [None if name == "auto" else name for name in settings.device_entries]


def compose(settings: Settings, *, start: bool = True) -> JobService:
    """One supervised worker per entry of ``SVD_UI_DEVICES``, or per GPU, and the service that keeps them busy.

    Returns at once: the workers import and look at their devices while the page is already served. Close it at the end.
    With ``SVD_UI_CLUSTER`` the replicas there take the workers' place; raises ClusterUnusable where nobody answers.
    """
    if on_zero_gpu():
        return compose_zero_gpu(settings)
    if settings.cluster:
        from ..engine.ray import engines_of

        service = JobService(settings, engines_of(settings))
        if start:
            service.start()
        return service
    engines = [WorkerEngine(settings, device) for device in devices(settings)]
    service = JobService(settings, engines, more=partial(WorkerEngine, settings))
    if not service.counted() and (lost := unlisted(settings)):
        log.warning("the history is empty, but %s clips lie here: 'history recover' lists them again", lost)
    if start:
        for engine in engines:
            engine.start()
        service.start()
    return service


def compose_zero_gpu(settings: Settings) -> JobService:
    """The service of a Space whose GPUs are lent for each clip: the model is loaded here, and its visitors' events run what
    they asked for. To be called in the main thread, before gradio serves.
    """
    from ..engine.zero_gpu import ZeroGpuEngine

    engine = ZeroGpuEngine(settings)
    service = JobService(settings, engine, inline=True)
    engine.predict = lambda request: service.estimate(request).seconds
    engine.load()
    service.start()
    return service
