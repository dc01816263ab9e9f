"""What happens around a running app: its folder taken away, its disk closed, its clock set, its pictures changed."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from svd_ui.assets import Assets
from svd_ui.errors import BadInput, HistoryGone, HistoryUnusable, SvdUiError
from svd_ui.jobs import leases, recovery
from svd_ui.jobs.service import JobService, open_store, server_alive
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine, picture
from tests.jobs.conftest import Clock, Serve, ended, sqlite_only, until

pytestmark = sqlite_only

YEAR = 365.25 * 24 * 3600


@pytest.mark.parametrize("how", ["removed", "moved", "another in its place"])
def test_a_folder_that_goes_refuses_new_work_and_comes_back_with_it(
    settings: Settings, serve: Serve, request_: GenerationRequest, how: str
) -> None:
    """Without it SQLite would go on in a file that nobody finds again."""
    service = serve(FakeEngine(steps=1, delay=0.0, settings=settings))
    done = ended(service, service.submit(request_, "ann"))
    elsewhere = settings.data_dir.with_name("elsewhere")
    settings.data_dir.rename(elsewhere)
    if how == "another in its place":
        with open_store(settings) as other:
            assert other.history() == []
    with pytest.raises(SvdUiError) as caught:
        service.submit(GenerationRequest(prompt="a fox"), "ann")
    assert isinstance(caught.value, HistoryGone)
    assert "start the app again" in caught.value.message
    service.close()
    if how != "removed":
        shutil.rmtree(settings.data_dir, ignore_errors=True)
        elsewhere.rename(settings.data_dir)
        with open_store(settings) as store:
            assert [job.id for job in store.history()] == [done.id]


def test_a_disk_that_is_closed_refuses_in_words(settings: Settings, request_: GenerationRequest) -> None:
    with open_store(settings) as store:
        kept = store.submit(request_, "ann")
        writer = store._database._writer
        assert writer is not None
        writer.execute("PRAGMA query_only = ON")
        with pytest.raises(HistoryUnusable, match=r"cannot be used \(it cannot be written to\)"):
            store.submit(request_, "ann")
        assert store.get(kept.id).state == "queued"
        writer.execute("PRAGMA query_only = OFF")
        assert store.submit(request_, "ann").state == "queued"


def test_a_disk_that_stays_full_is_logged_once(
    settings: Settings, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(settings) as store:
        writer = store._database._writer
        assert writer is not None
        beats = threading.Semaphore(0)
        lease = leases.Lease(store._database, "server", seconds=0.04, describe=lambda: beats.release() or ())
        lease.start()
        writer.execute("PRAGMA query_only = ON")
        with caplog.at_level(logging.WARNING):
            until(lambda: "housekeeping" in caplog.text)
            for _ in range(12):
                assert beats.acquire(timeout=60)
        assert caplog.text.count("housekeeping") == 1
        writer.execute("PRAGMA query_only = OFF")
        lease.close()


@pytest.mark.parametrize("jump", [-40 * YEAR, -3600.0, 3600.0, 30 * YEAR])
def test_a_clock_that_is_set_meanwhile_loses_nothing(
    settings: Settings, serve: Serve, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock = Clock()
    for module in ("recording", "store", "timing", "queue", "leases", "service", "job_run", "slot"):
        monkeypatch.setattr(f"svd_ui.jobs.{module}.time", _Set(clock))
    gate = threading.Event()
    service = serve(FakeEngine(steps=3, delay=0.0, gate=gate, settings=settings))
    running, waiting = service.submit(request_, "ann"), service.submit(request_, "ann")
    until(lambda: service.get(running.id).state == "denoising" or service.get(running.id).state == "conditioning")
    clock.now += jump
    told = service.get(running.id)
    assert told.eta_seconds is None or told.eta_seconds >= 0
    gate.set()
    assert [ended(service, job).state for job in (running, waiting)] == ["finished", "finished"]
    assert [job.id for job in service.history()] == [waiting.id, running.id]
    assert service.get(waiting.id).position is None
    service.close()
    assert not server_alive(settings)
    assert recovery.recover(settings).jobs == 2


class _Set:
    """The time of a clock that is set; what only passes, passes as ever."""

    def __init__(self, clock: Clock) -> None:
        import time

        self._clock, self._time = clock, time

    def time(self) -> float:
        return self._clock.now

    def __getattr__(self, name: str) -> object:
        return getattr(self._time, name)


PICTURES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "no bytes": lambda path: path.write_bytes(b""),
    "another picture": lambda path: picture(0.9).save(path, "PNG"),
    "a web page": lambda path: path.write_bytes(b"<!doctype html>"),
    "one byte changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"),
    "gone": Path.unlink,
    "its folder gone": lambda path: shutil.rmtree(path.parent),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_stored_picture_that_changed_is_said_and_healed_by_adding_it_again(
    case: str, settings: Settings, serve: Serve
) -> None:
    assets, image = Assets.of(settings), picture(0.4)
    ref = assets.keep(image)
    service: JobService = serve(FakeEngine(steps=1, delay=0.0, settings=settings))
    request = GenerationRequest(image=ref, num_frames=2, seed=1)
    job = ended(service, service.submit(request, "ann"))
    PICTURES[case](assets.path(ref))
    for ask in (lambda: service.submit(request, "ann"), lambda: service.retry(job.id, "ann")):
        with pytest.raises(BadInput, match="add (it|the picture) again") as caught:
            ask()
        assert "Traceback" not in caught.value.message
        assert str(settings.data_dir) not in caught.value.message
    assert [one.id for one in service.history()] == [job.id]
    assert assets.keep(image) == ref
    assert ended(service, service.retry(job.id, "ann")).state == "finished"
