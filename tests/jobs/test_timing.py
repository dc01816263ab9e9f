"""ETA from measured times."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.catalog import CheckpointRow
from svd_ui.clip import ClipSpec
from svd_ui.engine import CancelToken
from svd_ui.events import Decoding, Denoising, Encoding, Event, Loading, MakingStill, Waited
from svd_ui.jobs import Job
from svd_ui.jobs.service import JobService, open_store
from svd_ui.jobs.timing import Known, RunTimer, Timing
from svd_ui.jobs.timing_key import TimingKey, key_of
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Clock, Serve, Stepping, ended, until

GUIDED = {"min_guidance_scale": 1.0, "max_guidance_scale": 2.0}  # given, so that the checkpoint found does not matter
ROW = CheckpointRow(id="svd", title="SVD", num_frames=14, width=1024, height=576)


def test_a_key_survives_being_stored() -> None:
    request = GenerationRequest(prompt="kite", checkpoint="svd", num_inference_steps=30)
    key = key_of(ClipSpec.of(request, ROW), "clip", from_prompt=True)
    assert TimingKey.parse(str(key)) == key
    assert TimingKey.parse("svd") is None
    assert TimingKey.parse("a|b|c|d|e|f") is None


def test_an_unmeasured_size_is_scaled_from_the_nearest_of_the_same_checkpoint() -> None:
    small = TimingKey("svd", 512, 288, 14, guided=True, from_prompt=False)
    large = TimingKey("svd", 1024, 576, 14, guided=True, from_prompt=False)
    known = Known({str(small): Timing(step=1.0, before=3.0, after=2.0)})
    assert known.find(str(large)) == Timing(step=4.0, before=3.0, after=8.0)
    assert known.find(str(TimingKey("nano", 512, 288, 14, guided=True, from_prompt=False))) is None


def test_loading_counts_only_where_the_checkpoint_is_not_in_memory() -> None:
    key = TimingKey("svd", 512, 288, 14, guided=True, from_prompt=False)
    timings = {str(key): Timing(step=1.0, before=3.0, after=2.0, loading=20.0)}
    assert Known(timings).whole(str(key), 10) == 35.0
    assert Known(timings, warm="svd").whole(str(key), 10) == 15.0


def test_the_stopwatch_tells_loading_from_work() -> None:
    watch = RunTimer(0.0)
    for now, event in (
        (1.0, Loading(checkpoint="svd")),
        (21.0, Encoding()),
        (25.0, Denoising(step=1, total=2, seconds=1.0)),
        (26.0, Denoising(step=2, total=2, seconds=1.0)),
        (26.5, Decoding(done=0, total=4)),
    ):
        watch.see(event, now)
    assert watch.timing(30.0) == Timing(step=1.0, before=3.0, after=3.5, loading=21.0)


@pytest.mark.parametrize("first", [(), (MakingStill(),)])
def test_waiting_for_a_device_is_neither_loading_nor_work(first: tuple[Event, ...]) -> None:
    """A worker that was started, one second, is; another program had the device for a hundred."""
    watch = RunTimer(0.0)
    assert watch.see(Waited(seconds=100.0), 101.0), "what is left is reckoned from here on"
    for event in first:
        watch.see(event, 101.0)
    watch.see(Loading(checkpoint="svd"), 101.0)
    watch.see(Encoding(), 121.0)
    watch.see(Denoising(step=1, total=1, seconds=1.0), 125.0)
    assert watch.timing(125.0) == Timing(step=1.0, before=3.0, after=0.0, loading=21.0)
    assert watch.still(125.0) == Timing(step=0.0, before=4.0, after=0.0, loading=21.0)


def test_a_clip_that_waited_for_its_device_foretells_no_wait(
    serve: Serve, settings: Settings, request_: GenerationRequest, clock: Clock
) -> None:
    class Lent(Stepping):
        def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
            self.clock.now += 300.0
            yield Waited(seconds=300.0)
            yield from super().generate(request, out, cancel)

    service = serve(Lent(clock, steps=4, delay=0.1))
    wanted = request_.model_copy(update={"num_inference_steps": 4, **GUIDED})
    ended(service, service.submit(wanted, "ann"))
    service.close()
    with open_store(settings) as store:
        assert store.estimate(wanted).seconds == pytest.approx(0.4)


def test_measured_times_are_kept_and_foretell_the_next_clip(
    serve: Serve, settings: Settings, request_: GenerationRequest, clock: Clock
) -> None:
    service = serve(Stepping(clock, steps=4, delay=0.1))
    wanted = request_.model_copy(update={"num_inference_steps": 4, **GUIDED})
    assert service.estimate(wanted).seconds == pytest.approx(0.4)  # the engine's own
    ended(service, service.submit(wanted, "ann"))
    service.close()
    with open_store(settings) as store:
        longer = store.estimate(request_.model_copy(update={"num_inference_steps": 40, **GUIDED})).seconds
        assert longer == pytest.approx(4.0)


def test_eta_falls_while_running_and_adds_up_while_waiting(
    serve: Serve, request_: GenerationRequest, clock: Clock
) -> None:
    wanted = request_.model_copy(update={"num_inference_steps": 10, **GUIDED})
    engine = Stepping(clock, delay=0.1)
    service = serve(engine)
    ended(service, service.submit(wanted, "ann"))
    engine.gate = gate = threading.Event()

    def after_step(step: int) -> Job:
        gate.set()
        job: Job = until(lambda: (job := service.get(first.id)).step == step and job)
        return job

    first, second, third = (service.submit(wanted, "ann") for _ in range(3))
    waits = [service.get(job.id).eta_seconds for job in (second, third)]
    assert waits == [pytest.approx(2.0), pytest.approx(3.0)]
    left = [after_step(step).eta_seconds for step in range(1, 10)]
    assert left == [pytest.approx(1.0 - 0.1 * step) for step in range(1, 10)]
    gate.set()
    engine.gate = None
    assert ended(service, first).eta_seconds is None


def test_nothing_is_foretold_before_anything_was_measured(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings, FakeEngine(gate=threading.Event())) as service:
        service.start()
        first, second = service.submit(request_, "ann"), service.submit(request_, "ann")
        assert service.get(second.id).eta_seconds is None
        assert service.get(first.id).eta_seconds is None
