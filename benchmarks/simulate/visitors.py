"""Who asks for what, and when: a Poisson process whose rate follows the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

DAY = 86_400.0
HOURS = 24


@dataclass(frozen=True)
class Kind:
    """A kind of clip: seconds on one replica whose checkpoint is loaded, and how often it is asked for.

    ``steps`` is how finely its progress is kept. ``spread`` says whether all take the same time.
    """

    name: str
    checkpoint: str
    seconds: float
    share: float = 1.0
    steps: int = 25
    spread: Literal["none", "exponential"] = "none"


@dataclass(frozen=True)
class Arrival:
    """``at`` counts in seconds from the beginning; ``seconds`` is this clip's own work."""

    at: float
    owner: int
    kind: Kind
    seconds: float


@dataclass(frozen=True)
class Visitors:
    """``peak`` is the share of a day's clips that the busiest hour gets: 1/24 for a flat day. ``together`` gives how many
    clips one press asks for, with the share of presses.
    """

    users: int
    clips_a_day: float
    kinds: Sequence[Kind]
    peak: float = 0.1
    together: Mapping[int, float] = field(default_factory=lambda: {1: 1.0})

    @property
    def clips(self) -> float:
        """Clips a day, all users together."""
        return self.users * self.clips_a_day


def day_curve(peak: float) -> np.ndarray:
    """The share of each minute of a day: one hump in the evening, whose busiest hour has ``peak`` of the whole.

    Raises ValueError below 1/24, which a flat day has already.
    """
    if not 1 / HOURS <= peak < 0.5:
        raise ValueError("The busiest hour has at least a twenty-fourth of a day, and less than half.")
    turn = 2 * np.pi * (np.arange(1440) + 0.5 - 20 * 60) / 1440

    def shape(sharp: float) -> np.ndarray:
        weights = np.exp(sharp * (np.cos(turn) - 1))
        return np.asarray(weights / weights.sum())

    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shape(middle)[19 * 60 + 30 : 20 * 60 + 30].sum() < peak else (low, middle)
    return shape(high)


def arrivals(who: Visitors, days: float, seed: int) -> list[Arrival]:
    """Everything that is asked for in so many days; the same for the same ``seed``."""
    rng = np.random.default_rng(seed)
    sizes, chances = np.array(list(who.together)), np.array(list(who.together.values()))
    chances = chances / chances.sum()
    presses = rng.poisson(who.clips * np.ceil(days) / float(sizes @ chances))
    edges = np.concatenate([[0.0], np.cumsum(day_curve(who.peak))])
    spot = np.interp(rng.random(presses), edges, np.linspace(0, DAY, len(edges)))
    at = np.sort(rng.integers(0, int(np.ceil(days)), presses) * DAY + spot)
    at = at[at < days * DAY]
    presses = len(at)
    owners, many = rng.integers(0, who.users, presses), rng.choice(sizes, presses, p=chances)
    shares = np.array([kind.share for kind in who.kinds])
    which = rng.choice(len(who.kinds), presses, p=shares / shares.sum())
    found = []
    for when, owner, count, kind in zip(at, owners, many, which, strict=True):
        chosen = who.kinds[int(kind)]
        found += [Arrival(float(when), int(owner), chosen, _work(chosen, rng)) for _ in range(int(count))]
    return found


def _work(kind: Kind, rng: np.random.Generator) -> float:
    return float(rng.exponential(kind.seconds)) if kind.spread == "exponential" else kind.seconds
