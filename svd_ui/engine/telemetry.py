"""OpenTelemetry, off by default: a request -> its job -> load, encode, denoise, decode, post, write, as spans.

It is on where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set and the extra ``telemetry`` is installed; the standard variables say
everything else. Off, nothing of it is imported. Attributes are the request's own fields that are numbers or choices: no prompt,
no picture, no owner. The page hands the job's context to the worker, whose spans so belong to the same trace.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..events import Decoding, Denoising, Event, PostProcessing, WentOn
from ..request import GenerationRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
MISSING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but its packages are not installed. In the app's folder, run: "
    ".venv/bin/python -m pip install -e '.[telemetry]'"
)
EXPORT_MILLISECONDS = 1000
"""A worker may be ended at any time: what it has to say is sent soon."""
CHOICES = frozenset({"checkpoint", "profile", "speed", "output_format"})
STAGES = {
    "downloading": "download",
    "loading": "load",
    "making_still": "still",
    "conditioning": "encode",
    "denoising": "denoise",
    "decoding": "decode",
    "post_processing": "post",
    "writing": "write",
}
IN_PIECES = frozenset({"denoising", "decoding", "post_processing"})
MOST_JOBS = 10_000
Carrier = Mapping[str, str]
"""A span's context as W3C headers; empty while this is off."""
_ASKED: ContextVar[Carrier] = ContextVar("svd_ui_trace", default={})  # noqa: B039 (nobody changes it)
_OF_JOB: OrderedDict[str, Carrier] = OrderedDict()


@cache
def provider() -> TracerProvider | None:
    """One per process; None while this is off."""
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return None
    if any(_is_missing(name) for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")):
        log.warning(MISSING)
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return provider_of(OTLPSpanExporter())


def _is_missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # not even its parent is here
        return True


def provider_of(exporter: SpanExporter) -> TracerProvider:
    """What hands spans to ``exporter``."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from .. import __version__

    name = os.environ.get("OTEL_SERVICE_NAME") or "svd-ui"
    made = TracerProvider(resource=Resource.create({"service.name": name, "service.version": __version__}))
    delay = int(os.environ.get("OTEL_BSP_SCHEDULE_DELAY") or EXPORT_MILLISECONDS)
    made.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    return made


def _tracer() -> Tracer | None:
    found = provider()
    return None if found is None else found.get_tracer("svd_ui")


def _begin(
    tracer: Tracer, name: str, parent: Carrier, about: Mapping[str, str | bool | int | float], at: int | None = None
) -> Span:
    """``at`` in nanoseconds since 1970; None is now."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(dict(parent))
    return tracer.start_span(name, context=context, start_time=at, attributes=about)


def _carrier(span: Span) -> Carrier:
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    return headers


class RequestSpan:
    """One request of the page or the API, by the class of its route. ``parent`` are its headers."""

    def __init__(self, route: str, method: str, parent: Carrier) -> None:
        tracer = _tracer()
        known = {name: parent[name] for name in ("traceparent", "tracestate") if name in parent}
        about = {"http.request.method": method, "http.route": route}
        self._span = None if tracer is None else _begin(tracer, f"{method} {route}", known, about)
        self.carrier: Carrier = {} if self._span is None else _carrier(self._span)

    def end(self, status: int) -> None:
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)
            self._span.end()


def asked_by(carrier: Carrier) -> None:
    """From here on, in this task or thread, jobs are asked for by this request."""
    _ASKED.set(carrier)


def remember(job: str, carrier: Carrier | None = None) -> None:
    """Job ``job`` was asked for here: its span will belong to the request's, or to who gave ``carrier``, as long as this process lives."""
    carrier = carrier or _ASKED.get()
    if carrier:
        _OF_JOB[job] = carrier
        while len(_OF_JOB) > MOST_JOBS:
            _OF_JOB.popitem(last=False)


def carrier_of(job: str) -> Carrier:
    """What the process that makes ``job`` is told of its trace."""
    return _OF_JOB.get(job, {}) if provider() is not None else {}


class JobSpan:
    """One job from the moment that it is taken until it ended, or waits again."""

    def __init__(self, job: str, kind: str, request: GenerationRequest) -> None:
        tracer = _tracer()
        self._span = None
        if tracer is not None:
            about = {"job": job, "kind": kind, **attributes(request)}
            self._span = _begin(tracer, "job", _OF_JOB.get(job, {}), about)
            _OF_JOB[job] = _carrier(self._span)

    def end(self, state: str, code: str, request: GenerationRequest | None) -> None:
        """``code`` of the error, ``request`` as it was resolved."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attributes({"state": state, **(attributes(request) if request else {})})
        if code:
            self._span.set_attribute("error.type", code)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def attributes(request: GenerationRequest) -> dict[str, str | bool | int | float]:
    """The fields that are numbers, and the choices, under their own names; the kinds of method and post steps."""
    given = {name: getattr(request, name) for name in type(request).model_fields}
    plain = {name: value for name, value in given.items() if isinstance(value, int | float)}
    chosen = {name: str(given[name]) for name in CHOICES & given.keys() if given[name] is not None}
    kinds = {"method": request.method.kind, "post": " ".join(step.kind for step in request.post)}
    return {**plain, **chosen, **{name: kind for name, kind in kinds.items() if kind}}


class StageSpans:
    """The stages of one job, from what an engine says: most say that they begin, steps and frames say that they are done."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._last = time.time_ns()
        self._open = ""

    def see(self, event: Event) -> None:
        if isinstance(event, WentOn) or event.stage not in STAGES:
            return
        now = begun = time.time_ns()
        if isinstance(event, Denoising):
            begun = max(self._last, now - int((event.seconds or 0.0) * 1e9))
        elif isinstance(event, Decoding | PostProcessing):
            begun = self._last
        if event.stage != self._open:
            self._close(begun)
        first, _ = self._seen.get(event.stage, (begun, now))
        self._seen[event.stage], self._open, self._last = (first, now), event.stage, now

    def _close(self, when: int) -> None:
        """What said that it began has lasted until now; what is done in pieces until its last one."""
        if self._open and self._open not in IN_PIECES:
            self._seen[self._open] = (self._seen[self._open][0], when)

    def end(self, parent: Carrier) -> None:
        tracer = _tracer()
        if tracer is None:
            return
        self._close(time.time_ns())
        for stage, (first, last) in self._seen.items():
            _begin(tracer, STAGES[stage], parent, {"stage": stage}, first).end(last)


@contextmanager
def stages(parent: Carrier) -> Iterator[StageSpans]:
    """In the process that works: the spans of what ``see`` is told within the block."""
    spans = StageSpans()
    try:
        yield spans
    finally:
        spans.end(parent)
