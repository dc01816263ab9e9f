"""From one still to another: what both show goes on a straight way, what one shows alone is blended in or out.

Where they show nothing in common the one dissolves into the other, which is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choreography import Picture, Scenery
from .remembering import remembered

WORKING_SIZE = 640
"""Longer side at which the ways are measured."""
RATIO = 0.75
"""A point is the same one where the next best is so much worse (Lowe 2004)."""
INLIERS = 24
"""Points that agree on one view of a plane: with fewer two stills are taken for unrelated."""
ROUNDS = 4
"""Of looking for the place that came here, a fixed point."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """How places of one still go to another: ``flow`` [h w 2], x and y in shares of the frame; ``related`` where they do."""

    flow: Floats
    related: bool


@remembered(4)
def way(first: Picture, last: Picture) -> Way:
    """Measured by SIFT, a homography and, for what is left, dense inverse search (Kroeger et al., ECCV 2016)."""
    import cv2

    height, width = first.shape[:2]
    scale = min(1.0, WORKING_SIZE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    a, b = (
        cv2.cvtColor(cv2.resize(one, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for one in (first, last)
    )
    seen = _homography(a, b)
    if seen is None:
        return Way(np.zeros((size[1], size[0], 2), np.float32), False)
    there = cv2.warpPerspective(
        b, seen, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    rest = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(a, there, None)
    inside = cv2.warpPerspective(np.ones_like(b), seen, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    rest = cv2.GaussianBlur(rest * inside[..., None], (0, 0), 2)
    here = _grid(size[1], size[0])
    arrived = cv2.perspectiveTransform((here + rest).reshape(1, -1, 2), seen).reshape(here.shape)
    return Way(((arrived - here) / np.array(size, np.float32)).astype(np.float32), True)


def morph(stills: Sequence[tuple[float, Picture]], ways: Sequence[Way]) -> Scenery:
    """What is seen between pictures of one size, at rising shares of the clip, the first at 0 and the last at 1.

    ``ways`` go from each to the next one.
    """
    times = [time for time, _ in stills]

    def at(share: float) -> Picture:
        place = min(max(int(np.searchsorted(times, share, side="right")) - 1, 0), len(ways) - 1)
        part = (share - times[place]) / (times[place + 1] - times[place])
        return between(stills[place][1], stills[place + 1][1], ways[place], min(max(float(part), 0.0), 1.0))

    return at


def between(first: Picture, last: Picture, way: Way, share: float) -> Picture:
    """What is seen at ``share`` of the way; the stills themselves at its ends."""
    import cv2

    if share <= 0 or share >= 1:
        return first if share <= 0 else last
    height, width = first.shape[:2]
    unit = np.array([width, height], np.float32)
    flow = cv2.resize(way.flow, (width, height), interpolation=cv2.INTER_LINEAR) * unit
    here = _grid(height, width)
    came = flow
    for _ in range(ROUNDS):  # the way of the place from which what is here has come
        came = _looked(flow, here - share * came)
    before, after = here - share * came, here + (1 - share) * came
    blend = share * share * (3 - 2 * share)
    covers = [_inside(places, width, height) * much for places, much in ((before, 1 - blend), (after, blend))]
    total = covers[0] + covers[1] + 1e-6
    seen = [_looked(one.astype(np.float32), places) for one, places in ((first, before), (last, after))]
    mixed = (covers[0] / total)[..., None] * seen[0] + (covers[1] / total)[..., None] * seen[1]
    return mixed.round().clip(0, 255).astype(np.uint8)


def _homography(a: Any, b: Any) -> NDArray[np.float64] | None:
    """Where the points of ``a`` are in ``b``; None where too few agree on it."""
    import cv2

    sift = cv2.SIFT.create(3000)
    (points, marks), (others, signs) = sift.detectAndCompute(a, None), sift.detectAndCompute(b, None)
    if marks is None or signs is None or min(len(marks), len(signs)) < INLIERS:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(marks, signs, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    if len(good) < INLIERS:
        return None
    from_ = np.array([points[one.queryIdx].pt for one in good], np.float32)
    to = np.array([others[one.trainIdx].pt for one in good], np.float32)
    cv2.setRNGSeed(0)
    found, agree = cv2.findHomography(from_, to, cv2.RANSAC, 3.0)
    if found is None or int(agree.sum()) < INLIERS or not 0.1 < abs(np.linalg.det(found[:2, :2])) < 10:
        return None
    return np.asarray(found, np.float64)


def _grid(height: int, width: int) -> Floats:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y], axis=-1)


def _looked(picture: Floats, places: Floats) -> Floats:
    import cv2

    finely = cv2.INTER_CUBIC if picture.shape[-1] == 3 else cv2.INTER_LINEAR
    found: Floats = cv2.remap(picture, places.astype(np.float32), None, finely, borderMode=cv2.BORDER_REPLICATE)
    return found


def _inside(places: Floats, width: int, height: int) -> Floats:
    """1 well within a picture, falling to almost 0 beyond its edge: what is not there counts only where nothing else is."""
    x, y = places[..., 0], places[..., 1]
    deep = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    cover: Floats = np.clip(deep / 4 + 1, 1e-3, 1).astype(np.float32)
    return cover
