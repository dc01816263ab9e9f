"""One clip's figures, and ways that take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Clip:
    """What making one clip took. ``steps`` are seconds; the first step of stock is not among them.

    ``peak`` bytes are over the whole clip, ``peak_denoising`` until the last step; None where nobody counts.
    """

    seconds: float
    steps: list[float]
    peak: int | None = None
    peak_denoising: int | None = None
    peak_reserved: int | None = None
    stages: dict[str, float] = field(default_factory=dict)
    profile: str = ""
    chunk: int = 0
    compiled: bool = False
    note: str = ""

    @property
    def step(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.steps)

    def at(self, steps: int, made: int) -> float:
        """Seconds that ``steps`` would have taken, this clip having made ``made``."""
        return self.seconds + (steps - made) * self.step

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each way returned, ``rounds`` times one after the other, so that a busy machine is as unkind to all."""
    results: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            results[name].append(way())
    return results


def median_ratio(a: list[float], b: list[float]) -> float:
    """Median over the rounds of a / b: what happened to both in one round cancels."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
