"""How long calls take on a device that works behind the caller's back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True)
class Timer:
    """Times calls; ``sync`` waits for the device and ``clock`` counts seconds.

    The shortest of several runs is what a call costs: everything that disturbs a run makes it longer. Calls that
    compete take turns, so that what disturbs one disturbs the others too.
    """

    sync: Callable[[], None]
    clock: Callable[[], float] = time.perf_counter
    runs: int = 5
    at_most: float = 1.0
    """Seconds of all runs together after which no new turn begins."""

    @classmethod
    def of(cls, device: torch.device) -> Timer:
        return cls(sync=lambda: synchronise(device))

    def seconds(self, call: Callable[[], object]) -> float:
        """The shortest run of ``call``."""
        return self.race({"": call})[""]

    def race(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """The shortest run of each of ``calls``; the first run of each only warms up."""
        for call in calls.values():
            call()
        self.sync()
        best = dict.fromkeys(calls, float("inf"))
        began = self.clock()
        for _ in range(self.runs):
            for name, call in calls.items():
                started = self.clock()
                call()
                self.sync()
                best[name] = min(best[name], self.clock() - started)
            if self.clock() - began > self.at_most:
                break
        return best
