"""What is painted on a still as maps over the frame: where, how much it moves, and which way where somebody said so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from .choreography import View
from .flowing import Region, broad, directions, inwards
from .marks import Mask, Stroke

FEATHER = 0.09
"""Of the longer side: how far inside the paint's edge all of a checkpoint's own motion is seen."""
MERGED = 0.02
"""Of the longer side: how far strokes of different directions go over into each other."""


class Paint:
    """Maps [H W], 0 to 1: ``covered`` is painted, ``directed`` has a direction of its own. ``strength`` is 1 as usual."""

    def __init__(self, width: int, height: int) -> None:
        self.covered, self.directed, self.strength = np.zeros((3, height, width), np.float32)
        self._ways = np.zeros((height, width, 2), np.float32)

    def add(self, mask: Mask, angle: float | None, strength: float) -> None:
        """Over what is there; ``angle`` in degrees, 0 right and 90 up."""
        self.covered = np.maximum(self.covered, mask)
        self.strength += mask * (strength - self.strength)
        self.directed += mask * ((angle is not None) - self.directed)
        self._ways += mask[..., None] * (np.array(directions(angle or 0.0), np.float32) - self._ways)

    def erase(self, mask: Mask) -> None:
        """What is under ``mask`` is not painted any more."""
        self.covered, self.directed = self.covered * (1 - mask), self.directed * (1 - mask)

    def held(self) -> Mask:
        """How much of a checkpoint's own motion is taken away, [H W]: all where nothing is painted or somebody directs it.

        Less than none where more of it is asked for.
        """
        own = self.covered * (1 - self.directed)
        reach = min(FEATHER * max(own.shape), 0.9 * broad(own))
        held: Mask = 1 - self.strength * inwards(own, reach)
        return held

    def pushed(self) -> Region:
        """What has a direction of its own."""
        return Region(self.directed, self._smooth(self._ways, self.directed))

    def flowing(self, angle: float) -> Region:
        """All that is painted; what has no direction goes that way."""
        ways = self._ways + (1 - self.directed[..., None]) * (np.array(directions(angle), np.float32) - self._ways)
        return Region(self.covered, self._smooth(ways, self.covered))

    def _smooth(self, ways: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
        """Ways times strength, blurred over ``mask`` alone."""
        import cv2

        sigma = MERGED * max(mask.shape)
        weight = cv2.GaussianBlur(mask, (0, 0), sigma)[..., None]
        pushes = cv2.GaussianBlur(ways * (self.strength * mask)[..., None], (0, 0), sigma)
        return np.asarray(pushes / np.maximum(weight, 1e-3), np.float32)


def paint(view: View, strokes: Iterable[Stroke], mask: Mask | None, angle: float | None, strength: float) -> Paint:
    """``mask`` and then ``strokes``, one after the other. ``angle`` is for what has none, ``strength`` times each one's."""
    painting = Paint(*view.size)
    if mask is not None:
        painting.add(mask, angle, strength)
    for together in _alike(strokes):
        first = together[0]
        if first.erase:
            painting.erase(view.painted(tuple(Stroke(stroke.points, stroke.width) for stroke in together)))
        else:
            way = angle if first.angle is None else first.angle
            painting.add(view.painted(together), way, strength * first.strength)
    return painting


def _alike(strokes: Iterable[Stroke]) -> Iterator[tuple[Stroke, ...]]:
    """Neighbours that can be drawn at once."""
    for _, together in groupby(strokes, key=lambda stroke: (stroke.erase, stroke.angle, stroke.strength)):
        yield tuple(together)
