from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_ui.assets import Assets
from svd_ui.jobs import Job
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine, picture

Serve = Callable[..., JobService]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
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


def until(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first truthy answer; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = true()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def ended(service: JobService, job: Job) -> Job:
    return service.wait(job.id, timeout=15)
