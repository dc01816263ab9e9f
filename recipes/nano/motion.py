"""What stirs by itself: waves and drifts over a frame, in real time.

Places and lengths are in halves of the frame's longer side, measured from its middle, so that a motion is the same
at every size. At time 0 every motion is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Wave:
    """A travelling wave: points swing by ``amount`` (x, y), by ``rate`` radians a second; ``vector`` is its wave vector."""

    vector: tuple[float, float]
    amount: tuple[float, float]
    rate: float
    phase: float

    def shift(self, points: Grid, seconds: float) -> Grid:
        along = points @ np.array(self.vector, points.dtype) + self.phase
        swing = np.sin(along + self.rate * seconds) - np.sin(along)
        return np.asarray(swing[..., None] * np.array(self.amount, points.dtype))


@dataclass(frozen=True)
class Wind:
    """What stirs the parts of a scene of one ``kind``: waves, and a steady drift (x, y) a second.

    Amounts are in units of the motion that is asked for.
    """

    kind: str
    waves: tuple[Wave, ...] = ()
    drift: tuple[float, float] = (0.0, 0.0)

    def shift(self, points: Grid, seconds: float) -> Grid:
        """How much farther along than at first points [... 2] look, after so many ``seconds``."""
        shift = -seconds * np.array(self.drift, points.dtype)
        for wave in self.waves:
            shift = shift + wave.shift(points, seconds)
        return np.asarray(np.broadcast_to(shift, points.shape))


def point_grid(height: int, width: int) -> Grid:
    """Centres [height width 2] of as many equal parts of the frame, x then y, in halves of the longer side."""
    half = max(height, width) / 2
    x = (np.arange(width) + 0.5 - width / 2) / half
    y = (np.arange(height) + 0.5 - height / 2) / half
    return np.stack(np.meshgrid(x, y), axis=-1)
