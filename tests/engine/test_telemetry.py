"""Spans from the request to the last stage in the worker; and nothing at all, not even an import, while it is off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from svd_ui.assets import Assets
from svd_ui.engine import telemetry
from svd_ui.engine.worker import WorkerEngine
from svd_ui.errors import OutOfMemory
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.fakes import FakeEngine, picture
from tests.jobs.conftest import until

PROMPT = "my secret garden"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Telemetry of this process, into memory."""
    exporter = InMemorySpanExporter()
    made = telemetry.provider_of(exporter)
    monkeypatch.setattr(telemetry, "provider", lambda: made)
    yield exporter
    made.shutdown()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    made = telemetry.provider()
    assert made is not None
    made.force_flush()
    return {span.name: span for span in exporter.get_finished_spans()}


def build(settings: Settings, device: str | None) -> FakeEngine:
    """What the worker runs."""
    return FakeEngine(steps=3, delay=0.01, settings=settings)


def request_of(settings: Settings) -> GenerationRequest:
    image = Assets.of(settings).keep(picture(0.3))
    return GenerationRequest(image=image, prompt=None, width=64, height=64, seed=7, num_frames=4)


def test_a_job_belongs_to_the_request_that_asked_for_it(on: InMemorySpanExporter, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    asked = telemetry.RequestSpan("api", "POST", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    with JobService(settings, FakeEngine(settings=settings, delay=0)) as jobs:
        jobs.start()
        telemetry.asked_by(asked.carrier)
        job = jobs.submit(GenerationRequest(prompt=PROMPT, seed=7, num_frames=4), "v-owner", name="beach.jpg")
        telemetry.asked_by({})
        jobs.wait(job.id, 60)
        asked.end(200)
        found = until(lambda: len(spans(on)) == 2 and spans(on))
    request, made = found["POST api"], found["job"]
    assert f"{request.context.trace_id:032x}" == "a" * 32, "the caller's own trace goes on"
    assert made.parent is not None
    assert made.parent.span_id == request.context.span_id
    about = dict(made.attributes or {})
    assert {"job": job.id, "state": "finished", "seed": 7, "num_frames": 4, "kind": "clip"}.items() <= about.items()
    assert not any(secret in str(about) for secret in (PROMPT, "beach", "owner", "sha256"))


def test_a_failed_job_says_its_code_and_no_sentence(on: InMemorySpanExporter, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    failing = FakeEngine(settings=settings, delay=0, fail=OutOfMemory(doing="testing", remedy=""))
    with JobService(settings, failing) as jobs:
        jobs.start()
        jobs.wait(jobs.submit(request_of(settings), "v-owner").id, 60)
        made = until(lambda: spans(on).get("job"))
    assert dict(made.attributes or {})["error.type"] == "out_of_memory"
    assert not made.status.is_ok
    assert made.status.description is None


def test_stages_follow_each_other_and_last_as_long_as_they_took(on: InMemorySpanExporter) -> None:
    engine = FakeEngine(steps=3, delay=0.02)
    request = GenerationRequest(image="sha256:" + "0" * 64, width=64, height=64, num_frames=4)
    with telemetry.stages({}) as told:
        for event in engine.generate(request, Path("/nonexistent"), threading.Event()):
            told.see(event)
            if event.stage == "writing":
                break
    found = spans(on)
    order = ["load", "encode", "denoise", "decode", "write"]
    assert sorted(found, key=lambda name: found[name].start_time or 0) == order
    denoise = found["denoise"]
    assert ((denoise.end_time or 0) - (denoise.start_time or 0)) / 1e9 >= 3 * 0.02
    assert (found["encode"].end_time or 0) <= (denoise.start_time or 0) + 1_000_000


class Collector(BaseHTTPRequestHandler):
    """An OTLP collector: keeps what it is sent."""

    got: list[Any]

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.extend(span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_the_worker_s_stages_belong_to_the_page_s_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two processes, and a collector that hears both."""
    Collector.got = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        telemetry.provider.cache_clear()
        settings = Settings(data_dir=tmp_path)
        try:
            with JobService(settings, WorkerEngine(settings, factory=build)) as jobs:
                jobs.start()
                jobs.wait(jobs.submit(request_of(settings), "v-owner").id, 60)
                found = until(lambda: {"job", "write"} <= (got := {s.name: s for s in Collector.got}).keys() and got)
        finally:
            server.shutdown()
            made = telemetry.provider()
            telemetry.provider.cache_clear()
            assert made is not None
            made.shutdown()
    for name in ("load", "encode", "denoise", "decode", "write"):
        assert found[name].trace_id == found["job"].trace_id
        assert found[name].parent_span_id == found["job"].span_id


OFF = """
import sys
import gradio  # takes a part of it for itself where it is installed
before = set(sys.modules)
from pathlib import Path
from svd_ui.engine import telemetry, worker_main
from svd_ui.jobs.service import JobService
from svd_ui.settings import Settings
import svd_ui.web.guard
span = telemetry.RequestSpan("api", "POST", {})
telemetry.asked_by(span.carrier)
telemetry.remember("1")
span.end(200)
with telemetry.stages(telemetry.carrier_of("1")):
    pass
print([name for name in sys.modules if name.startswith("opentelemetry") and name not in before])
"""


def test_nothing_of_it_is_imported_while_it_is_off() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_that_are_not_here_are_named_and_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    telemetry.provider.cache_clear()
    try:
        assert telemetry.provider() is None
    finally:
        telemetry.provider.cache_clear()
    assert "python -m pip install -e '.[telemetry]'" in caplog.text
