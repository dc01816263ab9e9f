"""How many threads a processor computes with, minding what else it does.

A layer ends when its slowest thread does. One that shares its core with another program is half as fast, and all wait for
it: then a thread less is faster. So the machine is looked at while a clip is made, and the number follows. What comes out
is the same but for the order of some sums, a millionth in float32; who wants every bit sets ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

SHORTEST, LONGEST = 0.2, 30.0
"""Seconds between two looks that tell something: clocks tick in hundredths, and long ago is not now."""
CGROUP = Path("/sys/fs/cgroup/cpu.max")
_NOT_BUSY = {"idle", "iowait", "guest", "guest_nice"}  # a guest's time is part of user's already


def own_cores() -> list[int]:
    """Logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def available_cores(cgroup: Path = CGROUP) -> int:
    """How many of them it may fill: a container's limit of processor time counts too."""
    logical = len(own_cores())
    try:
        quota, period = cgroup.read_text("utf-8").split()
        return max(1, min(logical, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit: "max 100000", or no Linux
        return logical


@dataclass(frozen=True)
class Reading:
    """Seconds: by the wall clock, of processor time that anybody used on our cores, and that this process used."""

    at: float
    busy: float
    own: float


def look() -> Reading:
    every = psutil.cpu_times(percpu=True)
    cores = [every[index]._asdict() for index in own_cores() if index < len(every)]
    busy = sum(seconds for core in cores for name, seconds in core.items() if name not in _NOT_BUSY)
    own = psutil.Process().cpu_times()
    return Reading(time.monotonic(), busy, own.user + own.system)


class Neighbours:
    """Sets torch's threads to the cores that other programs leave, at most ``most``."""

    def __init__(self, look: Callable[[], Reading] = look, cores: int | None = None) -> None:
        self._look, self._cores = look, cores or len(own_cores())
        self._before: Reading | None = None

    def adapt(self, most: int | None) -> None:
        """Look again, and compute with what is free from now on. ``most`` None: the number is the user's to choose."""
        if most is None or most < 2:
            return
        now = self._look()
        before = self._before or now
        took = now.at - before.at
        if self._before is None or took >= SHORTEST:
            self._before = now
        if SHORTEST <= took <= LONGEST:
            others = (now.busy - before.busy - (now.own - before.own)) / took
            use_threads(max(1, min(most, int(self._cores - others + 0.5))))


def use_threads(count: int | None) -> None:
    """Compute with ``count`` threads from now on; None leaves torch's number."""
    if count is not None and count != torch.get_num_threads():
        torch.set_num_threads(count)
