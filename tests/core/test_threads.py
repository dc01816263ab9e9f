"""Threads and what else a machine does: how many there are, that they sleep, and that the numbers stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.threads import Neighbours, Reading, available_cores, look, own_cores, use_threads
from svd_ui.events import never

from .conftest import picture, prepared, request


class Machine:
    """A clock and counters in the place of the real ones: ``others`` cores busy with other programs, ``own`` with us."""

    def __init__(self) -> None:
        self.now = Reading(100.0, 1000.0, 10.0)

    def __call__(self) -> Reading:
        return self.now

    def passes(self, seconds: float, others: float, own: float = 1.0) -> None:
        at, busy, used = self.now.at, self.now.busy, self.now.own
        self.now = Reading(at + seconds, busy + seconds * (others + own), used + seconds * own)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def neighbours(machine: Machine) -> Iterator[Neighbours]:
    use_threads(4)
    there = Neighbours(machine, cores=4)
    there.adapt(4)
    return there


@pytest.mark.parametrize(("others", "left"), [(0.0, 4), (0.3, 4), (1.0, 3), (2.1, 2), (4.0, 1), (9.0, 1)])
def test_cores_that_others_use_are_left_to_them(
    machine: Machine, neighbours: Neighbours, others: float, left: int
) -> None:
    machine.passes(1.0, others)
    neighbours.adapt(4)
    assert torch.get_num_threads() == left


def test_when_the_others_end_all_threads_are_back(machine: Machine, neighbours: Neighbours) -> None:
    for others, left in ((3.0, 1), (0.0, 4)):
        machine.passes(1.0, others)
        neighbours.adapt(4)
        assert torch.get_num_threads() == left


def test_our_own_work_is_no_neighbour(machine: Machine, neighbours: Neighbours) -> None:
    machine.passes(1.0, others=0.0, own=4.0)
    neighbours.adapt(4)
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("seconds", [0.05, 3600.0])
def test_too_short_or_too_long_a_time_decides_nothing(machine: Machine, neighbours: Neighbours, seconds: float) -> None:
    machine.passes(seconds, others=4.0)
    neighbours.adapt(4)
    assert torch.get_num_threads() == 4


def test_short_times_add_up(machine: Machine, neighbours: Neighbours) -> None:
    for _ in range(6):
        machine.passes(0.05, others=4.0)
        neighbours.adapt(4)
    assert torch.get_num_threads() == 1


def test_the_users_own_number_stays(machine: Machine) -> None:
    use_threads(2)
    theirs = Neighbours(machine, cores=4)
    for _ in range(2):
        theirs.adapt(None)
        machine.passes(1.0, others=4.0)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("limit", "cores"), [("200000 100000", 2), ("max 100000", 8), ("50000 100000", 1), ("", 8)])
def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    assert available_cores(file) == cores
    assert available_cores(tmp_path / "none") == 8


def test_the_real_counters_rise() -> None:
    first = look()
    sum(range(3_000_000))
    second = look()
    assert second.at > first.at and second.own > first.own and second.busy >= first.busy > 0


def test_a_clip_is_the_same_whatever_number_of_threads_makes_it(runtime: Runtime, float32: None) -> None:
    """Else a neighbour that comes and goes would change clips."""

    def clip(counts: Iterator[int]) -> tuple[Tensor, np.ndarray]:
        for step in sample(prepared(runtime, request())):
            latents = step.latents
            use_threads(next(counts))
        frames = decode(decoder_of(runtime, picture(64, 64)), latents, 2, never())
        return latents, np.concatenate(list(frames))

    one, mixed = clip(cycle([1])), clip(cycle([3, 1, 2]))
    torch.testing.assert_close(mixed[0], one[0], rtol=1e-4, atol=1e-4)
    assert np.abs(mixed[1].astype(int) - one[1]).max() <= 1


WAITING = """
import svd_ui.core, torch, time
torch.set_num_threads(2)
x = torch.rand(500, 500)
x.relu()
began = time.process_time()
for _ in range(50):
    x.relu()
    time.sleep(0.004)
print(time.process_time() - began)
"""


def _waiting(**environment: str) -> float:
    """Seconds of processor time that a pool of two threads takes with something to do every four milliseconds."""
    run = [sys.executable, "-c", WAITING]
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return float(subprocess.run(run, env=clean | environment, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux" or len(own_cores()) < 2, reason="GNU's threads, on two cores")
def test_threads_that_wait_do_not_spin() -> None:
    assert _waiting() < 0.5 * _waiting(OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="infinite")
