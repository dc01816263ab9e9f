"""The simulated queue: against formulas that are known, and in the order that the real one has."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulate.__main__ import main
from benchmarks.simulate.queue_model import Fleet, Limits, Outcome, Simulation
from benchmarks.simulate.visitors import DAY, Arrival, Kind, Visitors, arrivals, day_curve
from svd_ui.jobs.service import open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

FLAT = 1 / 24


def offered(load: float, servers: int, kind: Kind, clips: int = 20_000) -> Outcome:
    """A flat day of so many clips, at ``load`` of what ``servers`` can do."""
    seconds_of_work = clips * kind.seconds
    days = seconds_of_work / (load * servers * DAY)
    who = Visitors(10**9, clips / days / 10**9, [kind], FLAT)
    return Simulation(arrivals(who, days, 3), Fleet(servers, servers, load_seconds=0)).run()


def erlang(load: float, servers: int) -> float:
    """Mean wait of M/M/c in units of one service."""
    offered = load * servers
    tail = offered**servers / math.factorial(servers) / (1 - load)
    waits = tail / (sum(offered**k / math.factorial(k) for k in range(servers)) + tail)
    return waits / (servers * (1 - load))


@pytest.mark.parametrize(("load", "servers"), [(0.7, 1), (0.75, 3)])
def test_it_waits_as_long_as_erlang_says(load: float, servers: int) -> None:
    seen = offered(load, servers, Kind("clip", "one", 10.0, spread="exponential"))
    assert float(np.mean(seen.waits)) == pytest.approx(10 * erlang(load, servers), rel=0.1)
    assert seen.busy == pytest.approx(load, rel=0.03)


def test_clips_of_one_length_wait_half_as_long() -> None:
    seen = offered(0.7, 1, Kind("clip", "one", 10.0))
    assert float(np.mean(seen.waits)) == pytest.approx(10 * 0.7 / (2 * (1 - 0.7)), rel=0.1)


def clip(at: float, owner: int, seconds: float = 10.0, checkpoint: str = "one") -> Arrival:
    return Arrival(at, owner, Kind("clip", checkpoint, seconds, steps=10), seconds)


def test_its_order_is_that_of_the_real_queue(tmp_path: Path) -> None:
    """Everybody's first before anybody's second, what runs counted: as a real store gives them."""
    rng = np.random.default_rng(5)
    owners = [int(owner) for owner in rng.integers(0, 4, 24)]
    asked = [clip(0.001 * number, owner) for number, owner in enumerate(owners)]
    begun: list[int] = []

    class Told(Simulation):
        def _work(self, replica: object, job: object) -> None:
            begun.append(job.number)  # type: ignore[attr-defined]
            super()._work(replica, job)  # type: ignore[arg-type]

    Told([clip(0, 99, 1), *asked], Fleet(1, 1, load_seconds=0)).run()
    with open_store(Settings(data_dir=tmp_path, _env_file=None)) as store:
        request = GenerationRequest(prompt="a fox", seed=1)
        ids = [store.submit(request, str(owner)).id for owner in owners]
        real = [ids.index(job.id) for job in store.queue.jobs()]
    assert [number - 1 for number in begun[1:]] == real


def test_a_change_of_checkpoint_costs_loading_and_a_warm_replica_spares_it() -> None:
    asked = [clip(100.0 * number, number, checkpoint="ab"[number % 2]) for number in range(10)]
    fleet = Fleet(2, 2, load_seconds=30)
    warm = Simulation(asked, fleet).run()
    assert warm.loading * warm.replica_hours * 3600 == pytest.approx(60)
    one = Simulation(asked, Fleet(1, 1, load_seconds=30)).run()
    assert one.loading * one.replica_hours * 3600 == pytest.approx(300)


def test_replicas_come_with_the_clips_and_go_when_idle() -> None:
    asked = [clip(1.0, owner, 60.0) for owner in range(8)]
    seen = Simulation(asked, Fleet(1, 4, start_seconds=100, idle_seconds=50, load_seconds=0), until=3600).run()
    assert seen.most_replicas == 4
    # One from the beginning, three that are ordered at the tenth second and serve from the 110th on.
    assert sorted(seen.totals) == pytest.approx([60, 120, 169, 169, 169, 180, 229, 229])
    paid = seen.replica_hours * 3600
    assert 3600 < paid < 3600 * 4  # the last clip ends the look, and nobody is sent home after it


def test_a_replica_that_fails_loses_at_most_one_step() -> None:
    asked = [clip(0, 0, 3600.0)]
    fleet = Fleet(1, 1, start_seconds=60, load_seconds=0, hours_between_failures=0.5)
    seen = Simulation(asked, fleet, seed=1).run()
    assert seen.failures > 0
    extra = float(seen.totals[0]) - 3600
    assert 60 * seen.failures <= extra <= (60 + 360) * seen.failures


def test_who_asks_for_too_much_is_refused() -> None:
    asked = [clip(0, 0), clip(0, 0), clip(0, 0), clip(0, 1), clip(0, 1)]
    seen = Simulation(asked, Fleet(1, 1), Limits(of_visitor=2, in_queue=2)).run()
    assert (seen.refused, len(seen.waits)) == (2, 3)


@pytest.mark.parametrize("peak", [FLAT, 0.1, 0.3])
def test_the_busiest_hour_has_its_share_of_the_day(peak: float) -> None:
    hours = day_curve(peak).reshape(48, 30).sum(axis=1)
    assert hours.sum() == pytest.approx(1)
    assert max(hours[i] + hours[i + 1] for i in range(47)) == pytest.approx(peak, rel=0.01)


def test_the_same_seed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    run: Callable[[], None] = lambda: main(["--users", "4", "--seconds", "60", "--replicas", "1,1-2", "--days", "1"])  # noqa: E731
    for _ in range(2):
        run()
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "4 users, 1-2 replicas: 95 % wait at most" in said[0]
