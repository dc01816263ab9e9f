"""Several devices at one queue: one that dies, or cannot be used, neither holds the others up nor eats their jobs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_ui.engine import CancelToken, Device, Estimate, never
from svd_ui.engine.worker import WorkerEngine
from svd_ui.engine.worker_handle import EngineFactory
from svd_ui.errors import BadInput, WorkerStopped
from svd_ui.events import Denoising, Event, Loading
from svd_ui.jobs import Job, rotation
from svd_ui.jobs.compose import compose
from svd_ui.jobs.rotation import FIRST_PAUSE, LONGEST_PAUSE, STRIKES, Rotation, Seat
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.engine import engines
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, ended, until


class Card(FakeEngine):
    """A device of its own; broken, its worker dies ``after`` so many steps, 0 being before the first."""

    def __init__(self, name: str, *, broken: bool = False, after: int = 0, **values: Any) -> None:
        super().__init__(steps=3, delay=0.0, device=Device(kind="cuda", name=name, id=name, place=name), **values)
        self.broken, self.after, self.probes = broken, after, 0
        self.trouble = ""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        for event in super().generate(request, out, cancel):
            yield event
            step = event.step if isinstance(event, Denoising) else 0 if isinstance(event, Loading) else None
            if self.broken and step == self.after:
                raise WorkerStopped(reason="CUDA error: unspecified launch failure")

    def probe(self, cancel: CancelToken) -> None:
        self.probes += 1
        if self.broken:
            raise WorkerStopped(reason="CUDA error: no device")


@pytest.fixture
def pair(settings: Settings) -> Settings:
    return settings.model_copy(update={"devices": "cuda:0,cuda:1"})


def submitted(service: JobService, request_: GenerationRequest, count: int) -> list[Job]:
    return [service.submit(request_.model_copy(update={"seed": seed}), "ann") for seed in range(count)]


def test_a_dead_device_rests_and_the_other_makes_every_clip(
    pair: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    good, dead = Card("good", gate=threading.Event()), Card("dead", broken=True)
    service = serve([good, dead], pair)
    jobs = submitted(service, request_, 10)
    until(lambda: service.devices()[1].doing == "resting")
    assert good.gate is not None
    good.gate.set()
    assert {ended(service, job).state for job in jobs} == {"finished"}
    assert len(dead.calls) == STRIKES
    assert len({call.seed for call in dead.calls}) == STRIKES  # no job went back to where it had died
    state = service.devices()[1]
    assert (state.name, state.why) == ("cuda:1", "CUDA error: unspecified launch failure")
    assert state.back is not None
    device = service.describe()
    assert device is not None
    assert device.name == "good"


def test_what_one_process_knows_of_its_devices_another_sees(
    pair: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    good = Card("good", gate=threading.Event())
    service = serve([good, Card("dead", broken=True)], pair, lease_seconds=0.2)
    jobs = submitted(service, request_, 4)
    with open_store(pair) as reader:
        until(lambda: [one.doing for one in reader.devices()] == ["working", "resting"])
        working, resting = reader.devices()
        assert working.job in {job.id for job in jobs}
        assert "launch failure" in resting.why
        known = reader.describe()
        assert known is not None
        assert known.name == "good"
    assert good.gate is not None
    good.gate.set()


def test_a_device_that_works_again_is_tried_without_a_job_and_then_gets_one(
    pair: Settings, serve: Serve, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(rotation, "LONGEST_PAUSE", 0.05)
    gate = threading.Event()
    good, dead = Card("good", gate=gate), Card("dead", broken=True)
    service = serve([good, dead], pair)
    jobs = submitted(service, request_, 8)
    until(lambda: dead.probes >= 2)
    assert len(dead.calls) == STRIKES
    dead.broken = False
    until(lambda: len(dead.calls) > STRIKES)
    gate.set()
    assert {ended(service, job).state for job in jobs} == {"finished"}
    assert [one.doing for one in service.devices()] == ["free", "free"]


def test_a_device_that_is_not_there_gets_no_job_while_another_works(
    pair: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    good, absent = Card("good"), Card("absent", broken=True)
    absent.trouble = "There is no device 'cuda:1' here."
    service = serve([good, absent], pair)
    assert {ended(service, job).state for job in submitted(service, request_, 4)} == {"finished"}
    assert not absent.calls
    state = service.devices()[1]
    assert (state.doing, state.why.rstrip(".")) == ("resting", "There is no device 'cuda:1' here")


def test_a_device_that_is_not_there_gets_no_job_while_the_only_other_one_rests() -> None:
    good, absent = Seat("cuda:0", Card("good")), Seat("cuda:1", Card("absent"))
    order = Rotation(())
    order.seats = (good, absent)
    absent.engine.trouble = "There is no device 'cuda:1' here."  # type: ignore[attr-defined]
    good.rest("it died")
    assert not order.may_take(absent, never())
    assert absent.rests


def test_where_no_device_can_be_used_a_job_says_why(serve: Serve, request_: GenerationRequest) -> None:
    class Absent(Card):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            raise BadInput(self.trouble)

    absent = Absent("absent")
    absent.trouble = "There is no device 'cuda:1' here."
    service = serve(absent)
    failed = ended(service, service.submit(request_, "ann"))
    assert failed.error is not None
    assert failed.error["message"] == absent.trouble


def test_a_job_that_kills_every_device_fails_and_they_go_on(
    pair: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    class Poisoned(Card):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            self.broken = request.seed == 0
            return super().generate(request, out, cancel)

    service = serve([Poisoned("one"), Poisoned("two")], pair)
    poison, *rest = submitted(service, request_, 4)
    assert ended(service, poison).state == "failed"
    assert {ended(service, job).state for job in rest} == {"finished"}
    assert "resting" not in {one.doing for one in service.devices()}


def test_a_worker_that_makes_headway_is_not_put_to_rest(
    pair: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    tired = Card("tired", broken=True, after=2)
    service = serve([Card("good"), tired], pair)
    assert {ended(service, job).state for job in submitted(service, request_, 8)} == {"finished"}
    assert service.devices()[1].doing == "free"


class Ticking:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rests_grow_and_a_job_that_went_well_ends_that() -> None:
    clock, died = Ticking(), WorkerStopped(reason="killed")
    seat = Seat("cuda:0", Card("one"), clock)
    for number in range(STRIKES):
        assert not seat.rests
        seat.ended(f"job {number}", died, headway=False)
    pauses = []
    for _ in range(8):
        left = seat._until - clock.now
        pauses.append(left)
        clock.now += left - 0.1
        assert seat.rests
        clock.now += 0.1
        assert not seat.rests
        assert seat.tried(never())
        seat.ended("another", died, headway=False)  # the first that it gets is enough now
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    clock.now += LONGEST_PAUSE
    assert seat.tried(never())
    seat.ended("a good one", None, headway=True)
    seat.ended("another", died, headway=False)
    assert not seat.rests
    assert seat.died_here == ["another"]


def test_the_next_job_is_foretold_for_the_device_that_would_take_it() -> None:
    busy, cold, warm, resting = seats = [Seat(name, Card(name)) for name in ("busy", "cold", "warm", "resting")]
    busy.began("a job")
    for seat in (warm, resting):
        seat.engine.prepare("nano")
    resting.rest("it died")
    order = Rotation(())
    order.seats = tuple(seats)
    assert order.likely("nano") is warm
    assert order.likely("svd") is cold
    for seat in (cold, warm):
        seat.began("another")
    assert order.likely("nano") is warm
    for seat in (busy, cold, warm):
        seat.rest("it died")
    assert order.likely() is not None
    assert order.taking == 0


def test_costs_are_those_of_that_device(pair: Settings, serve: Serve, request_: GenerationRequest) -> None:
    class Priced(Card):
        seconds = 1.0

        def estimate(self, request: GenerationRequest) -> Estimate:
            return Estimate(seconds=self.seconds)

    gate = threading.Event()
    slow, fast = Priced("slow", gate=gate), Priced("fast", gate=gate)
    fast.seconds = 0.25
    service = serve([slow, fast], pair)
    service.submit(request_, "ann")
    state = until(lambda: next((one for one in service.devices() if one.doing == "working"), None))
    assert service.estimate(request_).seconds == (0.25 if state.name == "cuda:0" else 1.0)
    gate.set()


def test_all_cards_that_auto_means_get_a_worker(settings: Settings, serve: Serve, request_: GenerationRequest) -> None:
    settings = settings.model_copy(update={"devices": "auto"})
    first = Card("cuda:0")
    first.device = first.device.model_copy(update={"others": ("cuda:1", "cuda:2")})
    service = serve(first, settings, lease_seconds=0.2, more=Card)
    until(lambda: len(service.devices()) == 3)
    assert [one.name for one in service.devices()] == ["cuda:0", "cuda:1", "cuda:2"]
    assert {ended(service, job).state for job in submitted(service, request_, 3)} == {"finished"}


def test_a_device_named_twice_gets_one_worker(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with compose(settings.model_copy(update={"devices": "cpu, cpu"}), start=False) as service:
        assert [one.name for one in service.devices()] == ["cpu"]
    assert "cpu: named before, and left out" in caplog.text


@pytest.fixture
def workers(pair: Settings) -> Iterator[Callable[[EngineFactory], JobService]]:
    """A service over two real processes."""
    made: list[JobService] = []

    def start(factory: EngineFactory) -> JobService:
        two = [WorkerEngine(pair, name, factory) for name in pair.device_entries]
        made.append(JobService(pair, two))
        for engine in two:
            engine.start()
        made[-1].start()
        until(lambda: {one.doing for one in made[-1].devices()} == {"free"})
        return made[-1]

    yield start
    for service in made:
        service.close()


def test_one_worker_is_killed_again_and_again_and_the_queue_is_drained(
    workers: Callable[[EngineFactory], JobService], request_: GenerationRequest
) -> None:
    service = workers(engines.doomed)
    slow = request_.model_copy(update={"num_inference_steps": 30})
    jobs = submitted(service, slow, 6)
    assert {ended(service, job).state for job in jobs} == {"finished"}
    good, doomed = service.devices()
    assert (good.doing, doomed.doing) == ("free", "resting")
    assert "SIGKILL" in doomed.why


def test_a_clip_whose_worker_is_killed_is_finished_by_the_other(
    workers: Callable[[EngineFactory], JobService], request_: GenerationRequest
) -> None:
    service = workers(engines.spared)
    job = service.submit(request_.model_copy(update={"num_inference_steps": 100}), "ann")
    until(lambda: (service.get(job.id).step or 0) > 1)
    before = next(one for one in service.devices() if one.job == job.id)
    assert before.device is not None
    os.kill(int(before.device.name.removeprefix("pid ")), signal.SIGKILL)
    after = until(
        lambda: next((one for one in service.devices() if one.job == job.id and one.name != before.name), None)
    )
    assert after.doing == "working"
    service.cancel(job.id)


def test_a_job_that_came_further_and_died_on_every_device_is_still_taken() -> None:
    rotation = Rotation([FakeEngine(), FakeEngine()], ["cuda:0", "cuda:1"])
    one, other = rotation.seats
    one.ended("job", WorkerStopped(reason="killed"), headway=True)
    assert (rotation.not_for(one), rotation.not_for(other)) == (["job"], []), "the other takes it"
    other.ended("job", WorkerStopped(reason="killed"), headway=True)
    assert (rotation.not_for(one), rotation.not_for(other)) == ([], []), "nobody is left who could be the better one"
