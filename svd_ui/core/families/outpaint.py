"""Paint beyond a photograph's edges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sides(NamedTuple):
    """Pixels on each side of a picture."""

    left: int
    top: int
    right: int
    bottom: int

    def less(self, other: Sides) -> Sides:
        return Sides(*(a - b for a, b in zip(self, other, strict=True)))


def outpaint(known: NDArray[np.uint8], sides: Sides) -> NDArray[np.uint8]:
    """``known`` [H W 3] with ``sides`` painted on."""
    rows, columns = (sides.top, sides.bottom), (sides.left, sides.right)
    return np.pad(known, (rows, columns, (0, 0)), mode="edge")
