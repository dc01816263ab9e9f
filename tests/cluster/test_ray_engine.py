"""The page's engine against a desk and replicas in this process: everything but Ray itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from svd_ui.assets import Assets
from svd_ui.engine import Device, Engine, telemetry
from svd_ui.engine.cluster import Told
from svd_ui.engine.cluster.replica import Replica
from svd_ui.engine.progress import KEPT, Progress
from svd_ui.engine.ray import RayEngine
from svd_ui.errors import (
    BadInput,
    Cancelled,
    ClusterMismatch,
    NoReplica,
    OutOfMemory,
    Unexpected,
    WorkerStopped,
)
from svd_ui.events import Denoising, Event, Finished, Loading, StillMade, Waited, WentOn
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings
from tests.cluster.engines import KeepingEngine
from tests.cluster.inside import InsideLink
from tests.fakes import After, FakeEngine, picture
from tests.jobs.conftest import until

Make = Callable[..., tuple[RayEngine, InsideLink]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "page", cluster="ray://inside:1", cluster_wait=30)


@pytest.fixture
def far(tmp_path: Path) -> Settings:
    """Of a replica on another machine."""
    return Settings(_env_file=None, data_dir=tmp_path / "far")


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    links: list[InsideLink] = []

    def made(*engines: tuple[Settings, Engine], page: Settings = settings) -> tuple[RayEngine, InsideLink]:
        link = InsideLink(*(Replica(one, engine, f"r{at}") for at, (one, engine) in enumerate(engines)))
        links.append(link)
        return RayEngine(page, link), link  # type: ignore[arg-type]

    yield made
    for link in links:
        link.close()


def job(settings: Settings, name: str = "ab12") -> Path:
    folder = settings.jobs_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def asked(settings: Settings, **values: Any) -> GenerationRequest:
    return GenerationRequest(**{"image": Assets.of(settings).keep(picture(0.3)), "seed": 1, **values})


def run(engine: RayEngine, settings: Settings, request: GenerationRequest) -> list[Event]:
    return list(engine.generate(request, job(settings), threading.Event()))


def test_a_clip_arrives_with_its_pictures_from_a_machine_that_shares_nothing(
    make: Make, settings: Settings, far: Settings
) -> None:
    engine, link = make((far, FakeEngine(settings=far)))
    request = asked(settings, output_format="mp4")
    events = run(engine, settings, request)
    assert isinstance(events[-1], Finished)
    result = events[-1].result
    assert sorted(path.name for path in job(settings).glob("*.*")) == ["clip.mp4", "poster.jpg"]
    assert Assets.of(settings).path(str(result.last_frame)).is_file()
    assert Progress(job(settings)).result(request) == result, "complete for whoever finds it after this process"
    assert not list((far.data_dir / "cluster").iterdir()), "nothing stays there but pictures"
    assert link.ships, "the next clip brings its pictures along"


def test_nothing_is_copied_where_the_folder_is_shared(make: Make, settings: Settings) -> None:
    engine, link = make((settings, FakeEngine(settings=settings)))
    run(engine, settings, asked(settings))
    assert (job(settings) / "clip.mp4").is_file()
    assert link.put_count == 0
    assert not link.ships


def test_a_still_made_there_can_be_used_here(make: Make, settings: Settings, far: Settings) -> None:
    engine, _ = make((far, FakeEngine(settings=far)))
    request = GenerationRequest(prompt="a boat", seed=1)
    events = list(engine.make_still(request, job(settings), threading.Event()))
    made = next(event for event in events if isinstance(event, StillMade))
    assert Assets.of(settings).path(made.image).is_file()
    assert (job(settings) / "poster.jpg").is_file()


@pytest.mark.parametrize("storage", ["", "folder", "memory://crossing"])
def test_what_was_kept_goes_there_and_comes_back(
    make: Make, settings: Settings, far: Settings, tmp_path: Path, storage: str
) -> None:
    url = str(tmp_path / "storage") if storage == "folder" else storage
    page = settings.model_copy(update={"cluster_storage": url})
    engine, link = make((far, KeepingEngine(steps=4, delay=0.01, settings=far)), page=page)
    link.dies_after = 6  # began, looked, loading, two times a file and its step
    link.ships = True
    request = asked(settings)
    with pytest.raises(WorkerStopped, match="killed or lost"):
        run(engine, settings, request)
    kept = job(settings) / KEPT / "step.json"
    before = kept.read_bytes()
    assert before, "what the replica kept is here"
    link.dies_after = -1
    events = run(engine, settings, request)
    assert f'{{"step": {next(event for event in events if isinstance(event, WentOn)).step}}}'.encode() == before
    assert isinstance(events[-1], Finished)
    if storage == "folder":
        assert not list((tmp_path / "storage/clips").iterdir()), "only pictures stay in the storage"


def test_a_cancel_ends_the_work_there_before_it_ends_here(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, KeepingEngine(steps=1000, delay=0.05, settings=far)))
    link.ships, cancel = True, threading.Event()
    events = engine.generate(asked(settings), job(settings), cancel)
    next(event for event in events if isinstance(event, Denoising))
    cancel.set()
    with pytest.raises(Cancelled):
        list(events)
    assert link.stoppings[0].is_set()


class Fewer(threading.Event):
    """A token that tells to go on without some tiles."""

    gone = frozenset[int]()

    def left_out(self) -> frozenset[int]:
        return self.gone


def test_a_cancelled_tile_is_known_there_and_the_others_go_on(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, KeepingEngine(steps=1000, delay=0.02, settings=far)))
    link.ships, cancel = True, Fewer()
    wall = Wall(seeds=2, motion_bucket_ids=(60, 127))
    events = engine.generate(asked(settings, speed="draft", wall=wall), job(settings), cancel)
    next(event for event in events if isinstance(event, Denoising))
    for gone in (frozenset({1}), frozenset({1, 3})):
        cancel.gone = gone
        while link.stoppings[0].left_out() != gone:
            next(events)
    assert not link.stoppings[0].is_set()
    cancel.set()
    with pytest.raises(Cancelled):
        list(events)


def test_the_trace_of_a_job_goes_along(
    make: Make, settings: Settings, far: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    monkeypatch.setattr(telemetry, "carrier_of", lambda job: context if job == "ab12" else {})
    engine, link = make((far, FakeEngine(settings=far)))
    run(engine, settings, asked(settings))
    assert link.orders[-1].trace == context
    assert telemetry._OF_JOB[link.orders[-1].session] == context


def test_a_caller_who_goes_away_has_the_work_stopped(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, KeepingEngine(steps=1000, delay=0.05, settings=far)))
    link.ships = True
    events = engine.generate(asked(settings), job(settings), threading.Event())
    next(event for event in events if isinstance(event, Denoising))
    events.close()  # type: ignore[attr-defined]
    assert link.stoppings[0].wait(5)


def test_the_error_of_a_clip_is_the_error_here(make: Make, settings: Settings, far: Settings) -> None:
    error = OutOfMemory(doing="testing", remedy="Do less.")
    engine, _ = make((far, FakeEngine(fail=error, settings=far)))
    with pytest.raises(OutOfMemory, match="Do less"):
        run(engine, settings, asked(settings))
    engine, _ = make((far, FakeEngine(fail=KeyError("x"), settings=far)))
    with pytest.raises(Unexpected, match="KeyError"):
        run(engine, settings, asked(settings))


def test_waiting_for_a_replica_is_said_and_no_time_of_the_clip(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, FakeEngine(settings=far)))
    busy = link.replicas.pop()
    cancel = After(6, lambda: link.replicas.append(busy))
    first, second, *_ = engine.generate(asked(settings), job(settings), cancel)
    assert isinstance(first, Waited)
    assert first.seconds > 0.5
    assert isinstance(second, Loading)


def test_no_replica_in_time_is_said(make: Make, settings: Settings) -> None:
    engine, _ = make(page=settings.model_copy(update={"cluster_wait": 0}))
    with pytest.raises(NoReplica, match="cluster status"):
        run(engine, settings, asked(settings))


def test_a_replica_of_another_release_is_said(
    make: Make, settings: Settings, far: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = make((far, FakeEngine(settings=far)))
    monkeypatch.setattr("svd_ui.engine.cluster.replica.__version__", "9.9.9")
    with pytest.raises(ClusterMismatch, match=r"9\.9\.9 there"):
        run(engine, settings, asked(settings))


class Liar(Replica):
    """Says that files are there which are not, or lie elsewhere."""

    name_of_video = "clip.mp4"

    def _told(self, events: Iterator[Event], crossing: Any = None) -> Iterator[Any]:
        for event in events:
            if isinstance(event, Finished):
                yield Told.of(
                    event.model_copy(update={"result": event.result.model_copy(update={"video": self.name_of_video})})
                )


@pytest.mark.parametrize("name", ["clip.mp4", "../other/clip.mp4", "/etc/hostname"])
def test_a_result_whose_files_did_not_arrive_is_none(make: Make, settings: Settings, far: Settings, name: str) -> None:
    other = job(settings, "other") / "clip.mp4"
    other.write_bytes(b"somebody else's")
    engine, link = make()
    link.replicas = [Liar(far, FakeEngine(settings=far), "liar")]
    link.replicas[0].name_of_video = name  # type: ignore[attr-defined]
    with pytest.raises(Unexpected, match="not all of the clip arrived"):
        run(engine, settings, asked(settings))


def test_what_is_no_event_is_refused() -> None:
    for told in (Told("Nothing", {}), Told("Denoising", {"step": "x"}), replace(Told("Writing", {}), kind="Settings")):
        with pytest.raises(Unexpected):
            told.event()


def test_the_device_is_the_replicas(make: Make, settings: Settings, far: Settings) -> None:
    device = Device(kind="cuda", name="A card", total_bytes=10**10)
    engine, _ = make((far, FakeEngine(settings=far, device=device)))
    assert engine.describe() is None
    run(engine, settings, asked(settings))
    assert engine.describe() == device


def test_a_picture_that_is_gone_here_is_said_here(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, FakeEngine(settings=far)))
    link.ships = True
    with pytest.raises((BadInput, Exception), match="picture"):
        run(engine, settings, GenerationRequest(image="sha256:" + "0" * 64, seed=1))


def test_jobs_of_a_queue_run_on_both_replicas_and_a_dead_one_is_replaced(
    make: Make, settings: Settings, far: Settings
) -> None:
    engine, link = make(*((far, KeepingEngine(steps=2, delay=0.01, settings=far)) for _ in range(2)))
    with JobService(settings, [engine, RayEngine(settings, link)]) as jobs:  # type: ignore[arg-type, list-item]
        jobs.start()
        ids = [jobs.submit(asked(settings), "a").id for _ in range(6)]
        assert [jobs.wait(id, 30).state for id in ids] == ["finished"] * 6
        link.dies_after, link.deaths = 7, 1
        id = jobs.submit(asked(settings, num_inference_steps=4), "a").id
        done = jobs.wait(id, 30)
        assert done.state == "finished"
        assert [note.code for note in done.notes][:1] == ["went_on"]


def test_a_job_whose_replica_always_dies_fails_with_the_reason(make: Make, settings: Settings, far: Settings) -> None:
    engine, link = make((far, KeepingEngine(steps=4, delay=0.01, settings=far)))
    link.ships, link.dies_after = True, 3
    with JobService(settings, engine) as jobs:  # type: ignore[arg-type]
        jobs.start()
        done = jobs.wait(jobs.submit(asked(settings), "a").id, 30)
        assert done.state == "failed"
        assert "its replica was killed or lost" in done.message
        assert "Try again" in done.message


def test_a_clip_is_not_blamed_for_a_cluster_that_comes_and_goes(
    make: Make, settings: Settings, far: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken down three times at the same step, and refused by replicas that are only coming up: it goes on all the same."""
    monkeypatch.setattr("svd_ui.engine.ray.BREATH_SECONDS", 0.01)
    engine, link = make((far, KeepingEngine(steps=60, delay=0.03, settings=far)))
    link.ships = True
    with JobService(settings, engine) as jobs:  # type: ignore[arg-type]
        jobs.start()
        id = jobs.submit(asked(settings), "a").id
        for times in range(1, 5):
            until(lambda: len(link.orders) == times and jobs.get(id).state == "denoising")  # noqa: B023
            if times == 4:
                link.dies_after, link.deaths = 0, 3  # from the next order on
            assert link.ask("stop_all")(5) == 1
        done = jobs.wait(id, 30)
        assert (done.state, link.deaths) == ("finished", 0)
        assert jobs._store.row(id)["stalled"] == 0


def test_a_clip_of_which_the_desk_dies_again_and_again_fails_in_the_end(
    make: Make, settings: Settings, far: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.engine.ray.BREATH_SECONDS", 0.01)
    monkeypatch.setattr("svd_ui.engine.ray.MOST_MOVES", 2)
    engine, link = make((far, KeepingEngine(steps=1000, delay=0.5, settings=far)))
    link.ships = True
    with JobService(settings, engine) as jobs:  # type: ignore[arg-type]
        jobs.start()
        id = jobs.submit(asked(settings), "a").id
        while jobs.get(id).state != "failed":
            assert len(link.orders) < 9
            link.ask("stop_all")(5)
            time.sleep(0.05)
        assert "taken down" in jobs.get(id).message


def test_a_connection_that_breaks_while_pictures_are_sent_is_no_fault_of_the_clip(
    make: Make, settings: Settings, far: Settings
) -> None:
    engine, link = make((far, FakeEngine(settings=far)))
    link.ships, put, failures = True, link.put, [ConnectionError("gone")]

    def broken(parcel: Any) -> Any:
        if failures:
            raise failures.pop()
        return put(parcel)

    link.put = broken  # type: ignore[method-assign]
    with JobService(settings, engine) as jobs:  # type: ignore[arg-type]
        jobs.start()
        assert jobs.wait(jobs.submit(asked(settings), "a").id, 30).state == "finished"


def test_a_cluster_that_never_begins_anything_is_said_in_the_end(
    make: Make, settings: Settings, far: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.engine.ray.BREATH_SECONDS", 0.01)
    engine, link = make((far, FakeEngine(settings=far)), page=settings.model_copy(update={"cluster_wait": 1}))
    link.dies_after = 0
    with JobService(settings, engine) as jobs:  # type: ignore[arg-type]
        jobs.start()
        done = jobs.wait(jobs.submit(asked(settings), "a").id, 30)
        assert done.state == "failed"
        assert "killed or lost" in done.message and len(link.orders) > 5


def test_memory_is_freed_between_clips_only(far: Settings) -> None:
    fake = FakeEngine(settings=far)
    replica = Replica(far, fake, "r")
    replica.release("page")
    assert fake.released == 0, "nothing was made"
    replica._last_page = "page"
    replica.release("another page")
    replica.release("page", idle_seconds=100)
    assert fake.released == 0
    replica.release("page")
    replica.release("page")
    assert fake.released == 1
