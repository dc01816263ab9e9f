"""Submitting, running, recording, looking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.engine import CancelToken
from svd_ui.errors import BadInput, HistoryUnreachable, NotFound, OutOfMemory, QueueFull, WorkerStopped
from svd_ui.events import Event, Loading
from svd_ui.jobs import status
from svd_ui.jobs.service import JobService
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, Stepping, ended, until


def test_a_request_becomes_a_clip_with_its_files(serve: Serve, request_: GenerationRequest) -> None:
    service = serve()
    job = service.submit(request_, "ann")
    assert len(job.id) == 32
    assert job.position in {0, None}
    done = ended(service, job)
    assert done.state == "finished", done.error
    assert done.result is not None
    assert done.result.request.num_inference_steps == 5
    for name in ("video", "poster", "preview"):
        path = service.file(done, name)
        assert path is not None
        assert path.stat().st_size > 0
    assert service.file(done, "latents") is None
    assert service.file(done, "../../svd_ui.sqlite3") is None
    with Image.open(service.file(done, "preview")) as preview:
        assert max(preview.size) <= 256
    assert [entry.id for entry in service.history()] == [job.id]


# Where the crop is put


@pytest.fixture
def astronaut(settings: Settings) -> GenerationRequest:
    """A square picture, cropped to a landscape, whose middle is her chest."""
    with Image.open(REPOSITORY / "benchmarks" / "data" / "astronaut.jpg") as photo:
        image = Assets.of(settings).keep(photo.convert("RGB"))
    return GenerationRequest(image=image, width=128, height=72, num_frames=4, seed=7)


def test_a_blank_focus_is_stored_as_the_numbers_of_the_subject(serve: Serve, astronaut: GenerationRequest) -> None:
    service = serve()
    job = service.submit(astronaut, "ann")
    assert job.request.focus_x == 0.5 and 0.2 < (job.request.focus_y or 0) < 0.3, "on her head"
    done = ended(service, job)
    assert done.result is not None and done.result.request.focus == job.request.focus
    again = service.retry(job.id, "ann")
    assert again.request == job.request


@pytest.mark.parametrize("given", [{"focus_x": 0.5, "focus_y": 0.9}, {"focus_x": 0.0, "focus_y": 0.5}])
def test_a_focus_that_came_with_the_request_stays(
    serve: Serve, astronaut: GenerationRequest, given: dict[str, float]
) -> None:
    job = serve().submit(astronaut.model_copy(update=given), "ann")
    assert {"focus_x": job.request.focus_x, "focus_y": job.request.focus_y} == given


def test_of_a_focus_only_what_is_blank_is_found(serve: Serve, astronaut: GenerationRequest) -> None:
    job = serve().submit(astronaut.model_copy(update={"focus_x": 0.1}), "ann")
    assert job.request.focus_x == 0.1 and 0.2 < (job.request.focus_y or 0) < 0.3


def test_a_prompt_has_nothing_to_look_at_yet(serve: Serve) -> None:
    job = serve().submit(GenerationRequest(prompt="a hill", width=64, height=64, num_frames=4), "ann")
    assert (job.request.focus_x, job.request.focus_y) == (None, None)
    assert job.request.focus == (0.5, 0.5)


def test_progress_is_seen_step_by_step(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    service = serve(Stepping(steps=4, gate=gate))
    job = service.submit(request_, "ann")
    for step in (1, 2, 3):  # the decoding follows the last one at once
        gate.set()
        seen = until(lambda step=step: (now := service.get(job.id)).step == step and now)
        assert (seen.state, seen.total) == ("denoising", 4)
    gate.set()
    assert ended(service, job).state == "finished"


def test_waiting_ends_with_its_timeout(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(gate=threading.Event()))
    job = until(lambda: (seen := service.get(service.submit(request_, "ann").id)) and seen)
    same = service.wait(job.id, timeout=0.3)
    assert same.state not in {"finished", "failed"}


def test_jobs_run_in_order_and_one_at_a_time(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    engine = FakeEngine(steps=1, delay=0.0, gate=gate)
    service = serve(engine)
    jobs = [service.submit(request_.model_copy(update={"seed": seed}), "ann") for seed in range(4)]
    until(lambda: service.get(jobs[0].id).state != "queued")
    assert [service.get(job.id).position for job in jobs] == [None, 0, 1, 2]
    gate.set()
    assert ended(service, jobs[-1]).state == "finished"
    assert [call.seed for call in engine.calls] == [0, 1, 2, 3]


def test_everybodys_first_job_comes_before_anybodys_second(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    service = serve(FakeEngine(steps=1, delay=0.0, gate=gate))
    first = service.submit(request_, "ann")
    until(lambda: service.get(first.id).state != "queued")
    second = service.submit(request_, "ann")
    other = service.submit(request_, "bob")
    assert (service.get(other.id).position, service.get(second.id).position) == (0, 1)
    gate.set()


def test_two_engines_run_two_jobs(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    service = serve([FakeEngine(gate=gate), FakeEngine(gate=gate)])
    jobs = [service.submit(request_, "ann") for _ in range(3)]
    until(lambda: sum(service.get(job.id).state != "queued" for job in jobs) == 2)
    gate.set()
    assert all(ended(service, job).state == "finished" for job in jobs)


def test_an_error_is_recorded_with_its_parameters_and_the_next_job_runs(
    serve: Serve, request_: GenerationRequest
) -> None:
    engine = FakeEngine(fail=OutOfMemory(doing="decoding", remedy="Choose profile '8gb'."), steps=2, delay=0.0)
    service = serve(engine)
    failed = ended(service, service.submit(request_, "ann"))
    assert failed.state == "failed"
    assert failed.error is not None
    assert (failed.error["code"], failed.error["params"]["doing"]) == ("out_of_memory", "decoding")
    engine.fail = None
    assert ended(service, service.retry(failed.id, "ann")).state == "finished"


def test_what_a_killed_worker_left_half_written_is_removed(serve: Serve, request_: GenerationRequest) -> None:
    class Killed(FakeEngine):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            (out / ".clip.mp4.0123.tmp").write_bytes(b"half")
            yield Loading(checkpoint="nano")
            raise WorkerStopped(reason="killed")

    service = serve(Killed())
    job = ended(service, service.submit(request_, "ann"))
    assert job.error is not None
    assert job.error["code"] == "died_again"
    assert not list((service.settings.jobs_dir / job.id).iterdir())


def test_an_unmapped_error_shows_no_traceback(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(fail=RuntimeError("/secret/path exploded"), steps=1, delay=0.0))
    failed = ended(service, service.submit(request_, "ann"))
    assert failed.error is not None
    assert failed.error["code"] == "unexpected"
    assert "/secret" not in str(status(failed, service.file))


def test_notes_of_a_step_down_are_kept(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=1, delay=0.0, note=Note.of("smaller_decode_chunk", count=2)))
    assert ended(service, service.submit(request_, "ann")).notes == (Note.of("smaller_decode_chunk", count=2),)


def test_a_still_joins_history_with_its_prompt(serve: Serve, settings: Settings) -> None:
    service = serve(FakeEngine(settings=settings, delay=0.0))
    done = ended(service, service.submit(GenerationRequest(prompt=" a red kite ", width=64, height=64), "ann", "still"))
    assert (done.state, done.kind) == ("finished", "still")
    assert done.result is not None
    assert done.result.image is not None
    assert done.result.request.prompt == "a red kite"
    assert service.history()[0].id == done.id
    assert status(done, service.file)["preview"] is not None


def test_the_still_of_a_prompt_and_its_clip_are_one_job(serve: Serve, settings: Settings) -> None:
    service = serve(FakeEngine(settings=settings, delay=0.0))
    done = ended(service, service.submit(GenerationRequest(prompt="a red kite", width=64, height=64), "ann"))
    assert done.state == "finished"
    assert service.file(done, "video") is not None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "image"),
        ({"prompt": "   "}, "image"),
        ({"image": "sha256:" + "0" * 64}, "image"),
        ({"prompt": "kite", "checkpoint": "no-such"}, "checkpoint"),
        ({"prompt": "kite", "checkpoint": "nano", "schedule": "ays"}, "schedule"),
    ],
)
def test_a_bad_request_names_its_field(serve: Serve, values: dict[str, object], field: str) -> None:
    service = serve()
    with pytest.raises(BadInput) as error:
        service.submit(GenerationRequest(**values), "ann")
    assert error.value.field == field
    assert service.history() == []


def test_still_and_prompt_together_are_refused(serve: Serve, request_: GenerationRequest) -> None:
    with pytest.raises(BadInput, match="not both"):
        serve().submit(request_.model_copy(update={"prompt": "kite"}), "ann")


def test_a_blank_seed_is_fixed_before_the_run(serve: Serve, request_: GenerationRequest) -> None:
    service = serve()
    job = service.submit(request_.model_copy(update={"seed": None}), "ann")
    assert job.request.seed is not None
    assert ended(service, job).result.request.seed == job.request.seed  # type: ignore[union-attr]


def test_a_full_queue_refuses(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings.model_copy(update={"max_queue": 2}), slots=False, role="reader") as service:
        for _ in range(2):
            service.submit(request_, "ann")
        with pytest.raises(QueueFull):
            service.submit(request_, "ann")
        assert len(service.history()) == 2


def test_history_is_paged_newest_first(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings, slots=False, role="reader") as service:
        ids = [service.submit(request_, "ann").id for _ in range(7)][::-1]
        first = service.history(limit=3)
        assert [job.id for job in first] == ids[:3]
        service.delete(first[-1].id)  # the page's last job goes; the next page follows all the same
        assert [job.id for job in service.history(limit=3, before=first[-1].id)] == ids[3:6]
        with pytest.raises(NotFound):
            service.history(before="nonsense")


def test_the_status_object(serve: Serve, request_: GenerationRequest) -> None:
    service = serve()
    done = ended(service, service.submit(request_, "ann"))
    answer = status(done, service.file)
    assert list(answer) == [
        *("id", "state", "step", "total", "position", "eta_seconds", "message", "notes"),
        *("error", "preview", "preview_frames", "video", "request"),
    ]
    assert answer["error"] is None
    assert answer["video"] == service.file(done, "video")
    assert answer["request"]["seed"] == 7


def test_device_memory_is_released_once_when_idle(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    engine = FakeEngine(steps=1, delay=0.0)
    service = serve(engine, settings.model_copy(update={"idle_seconds": 1}))
    ended(service, service.submit(request_, "ann"))
    assert engine.released == 0
    until(lambda: engine.released == 1)
    service.release()
    until(lambda: engine.released == 2)


def test_a_job_that_takes_too_long_is_stopped_and_says_so(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    service = serve(FakeEngine(gate=threading.Event()), settings.model_copy(update={"max_seconds": 1}))
    failed = ended(service, service.submit(request_, "ann"))
    assert failed.error is not None
    assert (failed.state, failed.error["code"]) == ("failed", "took_too_long")


def test_an_engine_hears_how_many_clips_wait_behind_each(serve: Serve, request_: GenerationRequest) -> None:
    heard: list[int] = []

    class Listening(FakeEngine):
        def expect(self, clips: int) -> None:
            heard.append(clips)

    gate = threading.Event()
    service = serve(Listening(steps=1, delay=0.0, gate=gate))
    first = service.submit(request_, "ann")
    until(lambda: service.get(first.id).state == "conditioning")
    others = [service.submit(request_, owner) for owner in ("ann", "bob")]
    service.submit(request_.model_copy(update={"image": None, "prompt": "a boat"}), "ann", kind="still")
    gate.set()
    for job in others:
        assert ended(service, job).state == "finished"
    until(lambda: len(heard) == 4)
    assert heard[0] == 0
    assert sorted(heard[1:], reverse=True) == heard[1:]  # the still is no clip, and every clip leaves one less
    assert (heard[1], heard[-1]) == (1, 0)


def test_what_was_asked_for_together_ends_together(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    gate = threading.Event()
    service = serve(FakeEngine(steps=2, delay=0.0, settings=settings, gate=gate))
    jobs = [service.submit(request_, "ann", name="boat", batch="b") for _ in range(3)]
    alone = service.submit(request_, "ann")
    until(lambda: service.get(jobs[0].id).state == "conditioning")
    assert [job.id for job in service.batch(jobs[1])] == [job.id for job in jobs]
    assert service.batch(alone) == []
    assert {job.name for job in service.batch(jobs[0])} == {"boat"}
    with pytest.raises(NotFound):
        service.cancel_batch(jobs[1].id, "bob")
    service.cancel_batch(jobs[1].id, "ann")
    assert [service.get(job.id).state for job in jobs[1:]] == ["cancelled", "cancelled"]
    assert ended(service, jobs[0]).state == "cancelled"
    gate.set()
    assert ended(service, alone).state == "finished"
    service.delete(jobs[2].id, "ann")
    assert len(service.batch(jobs[0])) == 2


def test_a_database_that_goes_away_between_claim_and_start_ends_no_slot(
    serve: Serve, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(FakeEngine(steps=1, delay=0.0))
    real = service._runner.prepare
    failures: list[Exception] = [HistoryUnreachable(address="db", reason="away"), KeyError("a defect")]

    def prepare(*args: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return real(*args)

    monkeypatch.setattr(service._runner, "prepare", prepare)
    monkeypatch.setattr(service._slots[0], "_prepare", prepare)
    assert ended(service, service.submit(request_, "ann")).state == "failed"
    assert ended(service, service.submit(request_, "ann")).state == "finished"
    assert not failures and service._slots[0].is_alive()
