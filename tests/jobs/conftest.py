from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from svd_ui.assets import Assets
from svd_ui.engine import CancelToken
from svd_ui.errors import Cancelled
from svd_ui.jobs import Job
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine, picture
from tests.postgres import ON_POSTGRES, Server, server

Serve = Callable[..., JobService]


sqlite_only = pytest.mark.skipif(ON_POSTGRES, reason="about the SQLite file")


@pytest.fixture
def postgres() -> Server:
    """A running PostgreSQL, the same for all tests of a run."""
    found = server()
    if found is None:
        pytest.skip("no PostgreSQL here")
    return found


@pytest.fixture(autouse=True)
def _store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``SVD_UI_TEST_STORE=postgresql`` runs every test of jobs on a new PostgreSQL database."""
    if ON_POSTGRES:
        monkeypatch.setenv("SVD_UI_DATABASE", request.getfixturevalue("postgres").new())


@pytest.fixture
def settings(_store: None, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)


@pytest.fixture
def request_(settings: Settings) -> GenerationRequest:
    """A small valid request with a real picture."""
    return GenerationRequest(image=Assets.of(settings).keep(picture(0.3)), width=64, height=64, num_frames=4, seed=7)


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start services that are closed at the end; by default one slot with a fake engine."""
    started: list[JobService] = []

    def start(engine: Any = None, settings: Settings = settings, **options: Any) -> JobService:
        service = JobService(settings, engine or FakeEngine(settings=settings), **options)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.close()


@dataclass
class Clock:
    """The time by which jobs are timed; it stands still but for what a ``Stepping`` engine says that its steps took."""

    now: float = 1_700_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Figures of time to the digit, however busy this machine is."""
    clock = Clock()
    for module in ("recording", "store", "timing"):
        monkeypatch.setattr(f"svd_ui.jobs.{module}.time", clock)
    return clock


class Stepping(FakeEngine):
    """Its steps take no time but by ``clock``. With a ``gate`` it makes one whenever that is set."""

    def __init__(self, clock: Clock | None = None, **values: Any) -> None:
        super().__init__(**values)
        self.clock = clock or Clock()

    def _wait(self, cancel: CancelToken) -> None:
        while self.gate is not None and not self.gate.wait(0.01) and not cancel.is_set():
            pass
        if cancel.is_set():
            raise Cancelled()
        if self.gate is not None:
            self.gate.clear()
        self.clock.now += self.delay


PATIENCE = 60.0
"""Seconds to wait for what takes a fraction of one on an idle machine."""


def until(true: Callable[[], Any]) -> Any:
    """The first truthy answer; fails after a minute."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = true()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def ended(service: JobService, job: Job) -> Job:
    return service.wait(job.id, timeout=PATIENCE)
