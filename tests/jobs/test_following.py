"""One job's life, followed through the log: asked for, begun, ended, in the page and in its worker."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from svd_ui.engine.worker import WorkerEngine
from svd_ui.errors import OutOfMemory, WorkerStopped
from svd_ui.jobs.following import Meter
from svd_ui.jobs.service import JobService
from svd_ui.logs import bound, line_formatter
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine

from .conftest import until

Serve = Callable[..., JobService]


def build(settings: Settings, device: str | None) -> FakeEngine:
    """What the worker runs."""
    return FakeEngine(steps=1, delay=0, settings=settings)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    formatter = line_formatter("json")
    return [json.loads(formatter.format(record)) for record in caplog.records if record.name.startswith("svd_ui.jobs")]


def test_a_job_is_followed_by_its_id_from_the_page_into_the_worker(
    settings: Settings, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "svd_ui")
    settings = settings.model_copy(update={"log_format": "json"})
    with JobService(settings, WorkerEngine(settings, factory=build)) as jobs:
        jobs.start()
        with bound(request_id="abcd1234"):
            job = jobs.submit(request_, "v-owner", name="beach.jpg")
            (asked,) = [line for line in lines(caplog) if line["message"] == "job asked for"]
        jobs.wait(job.id, 60)
        log = settings.logs_dir / "worker-device.log"
        theirs = json.loads(until(lambda: log.is_file() and log.read_text("utf-8")).splitlines()[-1])
    assert (asked["job"], asked["request_id"]) == (job.id, "abcd1234")
    assert theirs["job"] == job.id
    told = {line["message"] for line in lines(caplog) if line.get("job") == job.id}
    assert told == {"job asked for", "job began", "job finished"}
    assert not any(hidden in json.dumps(lines(caplog)) for hidden in ("v-owner", "beach", "sha256"))


def test_what_a_library_logs_in_a_job_s_slot_names_the_job(
    serve: Serve, settings: Settings, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    class Chatty(FakeEngine):
        def generate(self, *args: Any) -> Any:
            record = logging.LogRecord("av", logging.WARNING, "", 1, "deprecated", (), None)
            said.append(json.loads(line_formatter("json").format(record)))
            yield from super().generate(*args)

    said: list[dict[str, Any]] = []
    jobs = serve(Chatty(delay=0, settings=settings))
    job = jobs.wait(jobs.submit(request_, "me").id, 60)
    assert said[0]["job"] == job.id


class Heard(Meter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def died(self, kind: str, code: str) -> None:
        self.told.append(("died", code))

    def ended(self, work: Any, state: str, code: str, seconds: float) -> None:
        self.told.append((state, code))


def test_a_job_is_told_to_have_ended_once(serve: Serve, settings: Settings, request_: GenerationRequest) -> None:
    heard = Heard()
    jobs = serve(FakeEngine(delay=0, settings=settings, fail=OutOfMemory(doing="testing", remedy="")))
    jobs.meters.append(heard)
    jobs.wait(jobs.submit(request_, "me").id, 60)
    until(lambda: heard.told)
    assert heard.told == [("failed", "out_of_memory")]


def test_a_job_whose_worker_died_is_told_as_that(serve: Serve, settings: Settings, request_: GenerationRequest) -> None:
    heard = Heard()
    jobs = serve(FakeEngine(delay=0, settings=settings, fail=WorkerStopped(reason="testing")))
    jobs.meters.append(heard)
    job = jobs.submit(request_, "me")
    until(lambda: jobs.get(job.id).state == "failed")
    assert heard.told[:2] == [("died", "worker_stopped"), ("queued", "worker_stopped")]
