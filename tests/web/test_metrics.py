"""/metrics: what an operator watches, in the format that is asked for, and nothing that a visitor chose."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import httpx
import pytest
from gradio_client import Client, handle_file
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from pydantic import SecretStr

from svd_ui.assets import Assets
from svd_ui.errors import OutOfMemory
from svd_ui.jobs.following import JobFacts
from svd_ui.logs import line_formatter
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web.guard.watched import ROUTES, route_kind
from svd_ui.web.metrics import Metrics, checkpoint_label
from tests.fakes import FakeEngine, picture
from tests.jobs.conftest import until

from .conftest import Served, serving

OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module")
def watched(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, auth = tmp_path_factory.mktemp("watched"), SecretStr("olga:trees and towers")
    settings = Settings(data_dir=folder, checkpoint="nano", public=True, auth=auth)
    yield from serving(settings, FakeEngine(steps=3, delay=0, settings=settings))


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def told(served: Served) -> Samples:
    answer = httpx.get(f"{served.url}metrics", auth=("olga", "trees and towers"))
    assert answer.status_code == 200
    samples = (one for family in parsed(answer.text) for one in family.samples)
    return {(one.name, frozenset(one.labels.items())): one.value for one in samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"svd_ui_{name}", frozenset(labels.items())), 0.0)


def request_of(served: Served, **values: object) -> GenerationRequest:
    image = Assets.of(served.settings).keep(picture(0.3))
    return GenerationRequest.model_validate({"image": image, "width": 64, "height": 64, "seed": 1, **values})


def test_a_clip_leaves_its_seconds_and_steps_by_checkpoint_and_kind(watched: Served) -> None:
    before = told(watched)
    watched.jobs.wait(watched.jobs.submit(request_of(watched, num_inference_steps=4), "somebody").id, 60)
    after = told(watched)
    label = {"checkpoint": "auto", "kind": "clip"}

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("denoising_step_seconds_count", **label) == 4
    for name in ("job_wait", "job_loading", "job"):
        assert more(f"{name}_seconds_count", **label) == 1
    assert more("jobs_ended_total", kind="clip", state="finished") == 1
    assert more("device_busy_seconds_total", device="cpu") > 0
    assert value(after, "device_busy", device="cpu") == 0


def test_weights_that_were_in_memory_were_not_loaded(watched: Served) -> None:
    watched.engine.prepare("auto")
    before = told(watched)
    watched.jobs.wait(watched.jobs.submit(request_of(watched), "somebody").id, 60)
    watched.engine.release()
    name, label = "job_loading_seconds_count", {"checkpoint": "auto", "kind": "clip"}
    assert value(told(watched), name, **label) == value(before, name, **label)


def test_a_failure_is_counted_by_its_code(watched: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched.engine, "fail", OutOfMemory(doing="testing", remedy=""))
    before = told(watched)
    watched.jobs.wait(watched.jobs.submit(request_of(watched), "somebody").id, 60)
    label = {"kind": "clip", "code": "out_of_memory"}
    assert value(told(watched), "jobs_failed_total", **label) - value(before, "jobs_failed_total", **label) == 1


def test_a_paused_queue_and_what_waits_are_told_and_a_device_that_works(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(watched.engine, "gate", gate)
    first = watched.jobs.submit(request_of(watched), "somebody")
    until(lambda: watched.jobs.get(first.id).state == "conditioning")
    assert value(told(watched), "device_busy", device="cpu") == 1
    watched.jobs.queue.pause()
    until(lambda: watched.jobs.get(first.id).state == "queued")
    samples = told(watched)
    assert value(samples, "queue_paused") == 1
    assert value(samples, "queue_length", queue="clips") == 1
    gate.set()
    watched.jobs.queue.resume()
    watched.jobs.wait(first.id, 60)


def test_requests_logins_and_uploads_are_counted(watched: Served) -> None:
    before = told(watched)
    with httpx.Client(base_url=watched.url) as client:
        client.get("svd/job/made-up/video")
        assert client.post("login", data={"username": "olga", "password": "no"}).status_code == 400
        client.post("login", data={"username": "olga", "password": "trees and towers"})
        answer = client.post("gradio_api/upload", files={"files": ("a.txt", b"x" * 5000)})
        assert answer.status_code == 200
    assert httpx.get(f"{watched.url}metrics", auth=("olga", "wrong")).status_code == 401
    after = told(watched)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("http_requests_total", route="media", status="401") == 1
    assert more("logins_refused_total", reason="password") == 2
    assert 5000 < more("upload_bytes_total") < 6000
    assert more("http_answer_seconds_count", route="upload") == 1


def test_openmetrics_are_given_where_they_are_asked_for(watched: Served) -> None:
    answer = httpx.get(f"{watched.url}metrics", auth=("olga", "trees and towers"), headers=OPEN_METRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics(answer.text)}
    assert {"svd_ui_jobs", "svd_ui_page_cpu_seconds", "svd_ui_disk_free_bytes"} <= names


def test_help_says_whose_a_count_is(watched: Served) -> None:
    answer = httpx.get(f"{watched.url}metrics", auth=("olga", "trees and towers"))
    for family in parsed(answer.text):
        if family.type in ("counter", "histogram") and "page" not in family.name:
            assert family.documentation.endswith("This process, since it began."), family.name


def test_what_went_on_and_what_died_is_counted() -> None:
    metrics, work = Metrics(), JobFacts("1", "clip", "nano", "cpu")
    metrics.resumed(work)
    metrics.died("clip", "worker_stopped")
    samples = {(one.name, *one.labels.values()) for family in metrics.registry.collect() for one in family.samples}
    assert ("svd_ui_jobs_resumed_total", "clip") in samples
    assert ("svd_ui_jobs_died_total", "clip", "worker_stopped") in samples


@pytest.mark.parametrize("path", ["/svd/x", '/a"b\n', "/" + "x" * 5000, "/gradio_api/call/made-up", "/.env", "//evil"])
def test_whatever_is_asked_for_has_one_of_a_few_kinds(path: str) -> None:
    assert route_kind(path) in {*ROUTES, "page", "other"}


def test_a_folder_s_own_name_is_no_label() -> None:
    assert checkpoint_label("nano") == "nano"
    assert checkpoint_label("local:our-secret-project") == "own"


def test_a_request_is_named_and_a_name_that_is_not_well_formed_is_replaced(watched: Served) -> None:
    url = f"{watched.url}health"
    assert httpx.get(url, headers={"X-Request-ID": "trace-0123.ab"}).headers["x-request-id"] == "trace-0123.ab"
    for bad in ("short", "x" * 65, "with space", "semi;colon1"):
        assert httpx.get(url, headers={"X-Request-ID": bad}).headers["x-request-id"] != bad
    names = {httpx.get(url).headers["x-request-id"] for _ in range(3)}
    assert len(names) == 3


@pytest.mark.parametrize("endpoint", ["submit", "generate"])
def test_a_job_s_first_line_in_the_log_names_its_request(watched: Served, endpoint: str) -> None:
    """Also where gradio runs the call outside of the request, as it does for the page."""
    text = io.StringIO()
    handler, log = logging.StreamHandler(text), logging.getLogger("svd_ui.jobs.service")
    handler.setFormatter(line_formatter("json"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    name = f"request-of-{endpoint}"
    try:
        client = Client(watched.url, auth=("olga", "trees and towers"), headers={"X-Request-ID": name}, verbose=False)
        path = watched.settings.data_dir / "cat.png"
        picture(0.5).save(path)
        made = client.predict(image=handle_file(str(path)), seed=3, api_name=f"/{endpoint}")
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    (line,) = [json.loads(one) for one in text.getvalue().splitlines()]
    assert (line["job"], line["request_id"]) == (made["id"], name)
