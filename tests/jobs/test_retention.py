"""How long clips are kept: oldest first, files and pictures too, and never what is young, waits or is made."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from svd_ui.assets import Assets
from svd_ui.errors import BadInput
from svd_ui.jobs.retention import DAY, Rule, bytes_of, seconds_of, surplus
from svd_ui.jobs.service import JobService
from svd_ui.jobs.store import Store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web.formatting import kept_for
from tests.fakes import FakeEngine, picture

from .conftest import until

MB = 1_000_000


@pytest.fixture
def jobs(settings: Settings) -> Any:
    with JobService(settings, slots=False, role="reader") as service:
        yield service


def clip(jobs: JobService, number: int, days: float, megabytes: float = 0.01) -> str:
    """A finished clip that ended so long ago, with a picture of its own."""
    settings, id, when = jobs.settings, f"{number:032x}", time.time() - days * DAY
    image = Assets.of(settings).keep(picture(number / 100))
    store = Store(jobs._database)
    store.add(id, "me", "clip", GenerationRequest(image=image))
    with store.database.write() as sql:
        sql.execute("UPDATE jobs SET state = 'finished', created = ?, ended = ? WHERE id = ?", (when, when, id))
    (settings.jobs_dir / id).mkdir(parents=True)
    (settings.jobs_dir / id / "clip.mp4").write_bytes(b"x" * int(megabytes * MB))
    return id


def left(jobs: JobService) -> list[int]:
    """The numbers of the clips that are still there, the oldest first."""
    return sorted(int(job.id, 16) for job in jobs.history(limit=1000))


def test_what_is_older_goes_with_its_files(jobs: JobService) -> None:
    clip(jobs, 1, days=40)
    clip(jobs, 2, days=31)
    clip(jobs, 3, days=29)
    found = jobs.prune(Rule(seconds=30 * DAY))
    assert (len(found.ids), found.bytes) == (2, 20_000)
    assert left(jobs) == [3]
    assert [path.name for path in jobs.settings.jobs_dir.iterdir()] == [f"{3:032x}"]


def test_pictures_that_nobody_uses_any_more_go_too(jobs: JobService) -> None:
    clip(jobs, 1, days=40)
    clip(jobs, 2, days=1)
    for path in jobs.settings.assets_dir.glob("*/*.png"):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    jobs.prune(Rule(seconds=30 * DAY))
    assert len(list(jobs.settings.assets_dir.glob("*/*.png"))) == 1


def test_the_oldest_go_until_the_rest_has_room(jobs: JobService) -> None:
    for number, days in ((1, 2), (2, 5), (3, 3), (4, 1)):
        clip(jobs, number, days, megabytes=1)
    found = jobs.prune(Rule(bytes=2.5 * MB))
    assert [int(id, 16) for id in found.ids] == [2, 3], "the oldest first, and no more than it takes"
    assert left(jobs) == [1, 4]
    assert found.oldest is not None and found.newest is not None
    assert found.newest - found.oldest == pytest.approx(2 * DAY, abs=5)


def test_nothing_young_and_nothing_unfinished_goes(jobs: JobService) -> None:
    clip(jobs, 1, days=0.02, megabytes=5)
    waiting = clip(jobs, 2, days=100, megabytes=5)
    with jobs._database.write() as sql:
        sql.execute("UPDATE jobs SET state = 'queued', ended = NULL WHERE id = ?", (waiting,))
    assert jobs.prune(Rule(seconds=0.001, bytes=1)).ids == ()
    assert left(jobs) == [1, 2]


def test_what_is_made_counts_for_the_room_it_takes(jobs: JobService) -> None:
    running = clip(jobs, 1, days=1, megabytes=3)
    clip(jobs, 2, days=2, megabytes=1)
    with jobs._database.write() as sql:
        sql.execute("UPDATE jobs SET state = 'denoising', ended = NULL WHERE id = ?", (running,))
    assert len(surplus(Store(jobs._database), jobs.settings.jobs_dir, Rule(bytes=3.5 * MB), time.time()).ids) == 1


def test_a_dry_run_deletes_nothing(jobs: JobService) -> None:
    clip(jobs, 1, days=40)
    assert len(jobs.prune(Rule(seconds=DAY), dry_run=True).ids) == 1
    assert left(jobs) == [1]


def test_by_default_everything_is_kept(settings: Settings) -> None:
    assert Rule.of(settings).keeps_all
    assert kept_for(settings) == ""


def test_the_app_does_it_by_itself_as_the_settings_say(settings: Settings) -> None:
    settings = settings.model_copy(update={"keep_days": 30})
    with JobService(settings, FakeEngine(), lease_seconds=0.2) as jobs:
        clip(jobs, 1, days=31)
        clip(jobs, 2, days=29)
        jobs.start()
        until(lambda: left(jobs) == [2])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"keep_days": 1}, "Clips are kept for 1 day."),
        ({"keep_days": 30, "keep_gb": 50}, "Clips are kept for 30 days, at most 50 GB of them."),
        ({"keep_gb": 0.5}, "The newest 0.5 GB of clips are kept."),
    ],
)
def test_the_page_says_how_long(settings: Settings, values: dict[str, float], said: str) -> None:
    assert kept_for(settings.model_copy(update=values)) == said


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43_200), ("30d", 30 * DAY), (" 2W ", 14 * DAY), ("1.5y", 547.5 * DAY)]
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("50GB", 5e10), ("1.5 tb", 1.5e12), ("500MB", 5e8)])
def test_sizes_as_people_write_them(text: str, size: float) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("read", [seconds_of, bytes_of])
@pytest.mark.parametrize("text", ["", "30", "-1d", "d", "1e9GB", "50 gigs"])
def test_what_is_neither_is_said(read: Any, text: str) -> None:
    with pytest.raises(BadInput, match="write"):
        read(text)
