"""What /metrics tells, by prometheus-client, in a registry of its own for every app.

Counters and histograms are of this process, since it began: several pages each tell their own, and Prometheus adds them up. What
is read from the history when somebody asks (jobs, queue) is everybody's, and the same at each page: take it from one of them.
No label is anything that a visitor chose: checkpoints of the catalogue are named, all others are ``own``.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..catalog.checkpoint import ANIMATE_LCM, STABILITY_ROWS
from ..hub import TEXT_TO_IMAGE
from ..jobs.following import JobFacts, Meter
from ..jobs.queue import CLIPS, DOWNLOADS

if TYPE_CHECKING:
    from .context import Context

CHECKPOINTS = frozenset({"nano", "auto", TEXT_TO_IMAGE, ANIMATE_LCM.id, *(row.id for row in STABILITY_ROWS)})
LONG = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80)
ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
HERE = "This process, since it began."
SHARED = "From the history, all processes."


def checkpoint_label(id: str) -> str:
    """Folders that people put here have names that are their own."""
    return id if id in CHECKPOINTS else "own"


class Metrics(Meter):
    """Thread-safe. ``registry`` holds all of it."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        by = ("checkpoint", "kind")

        def seconds(name: str, about: str, buckets: tuple[float, ...], labels: tuple[str, ...] = by) -> Histogram:
            return Histogram(f"svd_ui_{name}_seconds", f"{about} {HERE}", labels, registry=registry, buckets=buckets)

        def count(name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"svd_ui_{name}", f"{about} {HERE}", labels, registry=registry)

        self._waited = seconds("job_wait", "From asked for to taken, for jobs taken the first time.", LONG)
        self._loading = seconds("job_loading", "Reading a checkpoint that was not in memory.", LONG)
        self._steps = seconds("denoising_step", "One denoising step.", SHORT)
        self._whole = seconds("job", "From taken to finished.", LONG)
        self._ended = count("jobs_ended", "Jobs by how they ended.", ("kind", "state"))
        self._failed = count("jobs_failed", "Jobs that failed, by the error's code.", ("kind", "code"))
        self._resumed = count("jobs_resumed", "Jobs that went on from a kept step.", ("kind",))
        self._died = count("jobs_died", "Jobs whose worker or disk gave out, and that wait again.", ("kind", "code"))
        self._answers = seconds("http_answer", "From a request to the first byte of its answer.", ANSWER, ("route",))
        self._requests = count("http_requests", "Requests by kind of route and status.", ("route", "status"))
        self._refused = count("logins_refused", "Logins refused, by why: password, or too_many.", ("reason",))
        self._uploaded = count("upload_bytes", "Bytes of uploads that came in.")
        self._lock = threading.Lock()
        self._at_work: dict[str, tuple[str, float]] = {}
        self._worked: defaultdict[str, float] = defaultdict(float)

    # Of jobs

    def waited(self, work: JobFacts, seconds: float) -> None:
        self._waited.labels(checkpoint_label(work.checkpoint), work.kind).observe(max(0.0, seconds))

    def began(self, work: JobFacts) -> None:
        if work.device:
            with self._lock:
                self._at_work[work.id] = (work.device, time.monotonic())

    def loaded(self, work: JobFacts, seconds: float) -> None:
        self._loading.labels(checkpoint_label(work.checkpoint), work.kind).observe(seconds)

    def step(self, work: JobFacts, seconds: float) -> None:
        self._steps.labels(checkpoint_label(work.checkpoint), work.kind).observe(seconds)

    def resumed(self, work: JobFacts) -> None:
        self._resumed.labels(work.kind).inc()

    def died(self, kind: str, code: str) -> None:
        self._died.labels(kind, code).inc()

    def ended(self, work: JobFacts, state: str, code: str, seconds: float) -> None:
        with self._lock:
            device, since = self._at_work.pop(work.id, ("", 0.0))
            if device:
                self._worked[device] += time.monotonic() - since
        if state != "queued":
            self._ended.labels(work.kind, state).inc()
        if state == "finished":
            self._whole.labels(checkpoint_label(work.checkpoint), work.kind).observe(seconds)
        if state == "failed":
            self._failed.labels(work.kind, code).inc()

    def busy(self) -> dict[str, tuple[bool, float]]:
        """Device => whether it works, and for how many seconds it did."""
        with self._lock:
            now, found = time.monotonic(), {device: (False, worked) for device, worked in self._worked.items()}
            for device, since in self._at_work.values():
                found[device] = (True, found.get(device, (False, 0.0))[1] + now - since)
        return found

    # Of requests

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._answers.labels(route).observe(seconds)

    def refused_login(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def uploaded(self, count: int) -> None:
        self._uploaded.inc(count)


class LookedUp(Collector):
    """What is looked up when somebody asks."""

    def __init__(self, context: Context, metrics: Metrics) -> None:
        self._context, self._metrics = context, metrics

    def collect(self) -> Iterable[Metric]:
        yield _gauge("info", "Version of the app.", [(1, __version__)], ["version"])
        yield from self._jobs()
        yield from self._devices()
        free = shutil.disk_usage(self._context.settings.data_dir).free
        yield _gauge("disk_free_bytes", "Free space for the data folder.", [(free,)])
        process = psutil.Process()
        yield _gauge("page_resident_bytes", "Memory of the page's process.", [(process.memory_info().rss,)])
        yield _gauge("page_uptime_seconds", "Since the page's process began.", [(time.time() - process.create_time(),)])
        cpu = CounterMetricFamily("svd_ui_page_cpu_seconds", "Processor time of the page's process.")
        cpu.add_metric([], sum(process.cpu_times()[:2]))
        yield cpu

    def _jobs(self) -> Iterable[Metric]:
        jobs = self._context.jobs
        counted = jobs.counted()
        states = [(count, kind, state) for (kind, state), count in sorted(counted.items())]
        yield _gauge("jobs", f"Jobs of the history, by kind and state. {SHARED}", states, ["kind", "state"])
        unfinished = jobs.unfinished()
        yield _gauge("jobs_unfinished", f"Clips and stills that wait or are made. {SHARED}", [(unfinished,)])
        kinds = {"clips": CLIPS, "downloads": DOWNLOADS}
        lengths = [(sum(counted.get((one, "queued"), 0) for one in held), name) for name, held in kinds.items()]
        yield _gauge("queue_length", f"Jobs that wait. {SHARED}", lengths, ["queue"])
        yield _gauge("queue_paused", f"1 while the queue is paused. {SHARED}", [(jobs.queue.paused,)])

    def _devices(self) -> Iterable[Metric]:
        device = self._context.device()
        yield _gauge("device_known", "Whether a device is there to work.", [(device is not None,)])
        if device is not None and device.free_bytes is not None:
            yield _gauge("device_free_bytes", "Free memory of the first device.", [(device.free_bytes,)])
        if device is not None and device.total_bytes is not None:
            yield _gauge("device_total_bytes", "Memory of the first device.", [(device.total_bytes,)])
        own = {one.id or one.kind: one for one in self._context.jobs.own_devices()}
        free = [(one.free_bytes, id) for id, one in own.items() if one.free_bytes is not None]
        total = [(one.total_bytes, id) for id, one in own.items() if one.total_bytes is not None]
        yield _gauge("device_memory_free_bytes", "Free memory of each device of this process.", free, ["device"])
        yield _gauge("device_memory_total_bytes", "Memory of each device of this process.", total, ["device"])
        busy = {**dict.fromkeys(own, (False, 0.0)), **self._metrics.busy()}
        works = [(working, id) for id, (working, _) in busy.items()]
        yield _gauge("device_busy", f"1 while a device makes a clip. {HERE}", works, ["device"])
        worked = CounterMetricFamily("svd_ui_device_busy_seconds", f"Time a device worked. {HERE}", labels=["device"])
        for id, (_, seconds) in busy.items():
            worked.add_metric([id], seconds)
        yield worked


def _gauge(name: str, about: str, values: Iterable[tuple[float | str, ...]], labels: list[str] | None = None) -> Metric:
    """``values`` are (value, label, ...) each."""
    family = GaugeMetricFamily(f"svd_ui_{name}", about, labels=labels or [])
    for value, *named in values:
        family.add_metric([str(one) for one in named], float(value))
    return family
