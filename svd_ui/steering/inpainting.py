"""A picture without something in it: what was behind is put together from pieces of what is around.

Which pieces: a few shifts of the picture onto itself, those by which places at the hole's edge are likest to others (He and
Sun 2012, "Statistics of patch offsets for image completion"); each place of the hole takes the one that fits what is there
so far, and that is repeated (Wexler, Shechtman and Irani 2007). Colours are then brought together at the edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choreography import Picture
from .marks import Mask
from .remembering import remembered

WORKING_SIZE = 288
"""Longer side of the copy in which pieces are looked for."""
GROWN = 4
"""Pixels at that size by which the hole is larger: a cut-out's edge holds some of its colour."""
COVERED = 0.02
"""A mask of less covers nothing."""
PATCH = 9
CELL, FOUND = 20, 3
"""The hole is looked at in squares of so many pixels, each of which brings so many shifts."""
MOST_SHIFTS = 90
ROUNDS = 3
GUESSED = 0.25
"""What a place in the hole counts beside one that is known."""
FAR = 4.0
"""What it costs, of a colour's squared difference, to come from the whole longer side away."""
BLEND = 1.0
"""Pixels at that size over which pieces go over into each other."""

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Shift = tuple[int, int]
"""(y, x) from a place to where it is copied from."""


@remembered(4)
def without(picture: Picture, mask: Mask, grown: int = GROWN) -> Picture:
    """``picture`` [H W 3] with what ``mask``, of any size, covers painted over; to the bit away from it.

    ``grown`` is in pixels of a picture whose longer side is ``WORKING_SIZE``. Some 0.3 s of a core, however large the picture is, and its copying.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIZE / max(height, width))
    size = max(PATCH, round(width * scale)), max(PATCH, round(height * scale))
    covered = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > COVERED
    if not covered.any():
        return picture
    hole = cv2.dilate(covered.astype(np.uint8), _round(grown)) > 0
    if hole.all():
        return picture
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    guess = spread(small, ~hole)
    shifts = _shifts(guess, hole)
    if not shifts:
        return _composed(picture, cv2.resize(guess, (width, height), interpolation=cv2.INTER_CUBIC), hole)
    return _composed(picture, _copied(picture, hole, _chosen(guess, hole, shifts), shifts), hole)


def spread(picture: Floats | Picture, known: Flags) -> NDArray[np.float32]:
    """Colours of where ``known`` [H W] spread smoothly to everywhere else, by a pyramid: [H W 3]; as they are where known."""
    import cv2

    height, width = known.shape
    weight = known.astype(np.float32)
    colours = picture.astype(np.float32) * weight[..., None]
    if min(height, width) <= 2 or known.all():
        mean: NDArray[np.float32] = colours.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(known[..., None], picture, mean).astype(np.float32)
    half = (width + 1) // 2, (height + 1) // 2
    less, shares = (
        cv2.resize(colours, half, interpolation=cv2.INTER_AREA),
        cv2.resize(weight, half, interpolation=cv2.INTER_AREA),
    )
    there = shares > 1e-3
    coarse = spread(less / np.maximum(shares, 1e-3)[..., None], there)
    smooth = cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1.0)
    return np.where(known[..., None], picture, smooth).astype(np.float32)


def _shifts(guess: Floats, hole: Flags) -> list[Shift]:
    """Shifts by which squares along the hole's edge, and some of the rest of it, are likest to known places."""
    import cv2

    height, width = hole.shape
    reach = CELL // 2 + PATCH // 2
    filled = cv2.boxFilter(
        hole.astype(np.float32), -1, (2 * reach + 1, 2 * reach + 1), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    outer = hole & (filled < 0.9 * (2 * reach + 1) ** 2)
    found: dict[Shift, float] = {}
    for top in range(0, height, CELL):
        for left in range(0, width, CELL):
            here = outer[top : top + CELL, left : left + CELL]
            if here.any():
                for cost, shift in _alike(
                    guess, hole, min(top + CELL // 2, height - 1), min(left + CELL // 2, width - 1), reach
                ):
                    found[shift] = min(cost, found.get(shift, np.inf))
    return sorted(found, key=lambda shift: found[shift])[:MOST_SHIFTS]


def _alike(guess: Floats, hole: Flags, y: int, x: int, reach: int) -> list[tuple[float, Shift]]:
    """The known squares likest to the one around a place, with what they differ by."""
    import cv2

    height, width = hole.shape
    rows, columns = (
        slice(max(0, y - reach), min(height, y + reach + 1)),
        slice(max(0, x - reach), min(width, x + reach + 1)),
    )
    template = np.ascontiguousarray(guess[rows, columns], np.float32)
    if template.shape[0] >= height or template.shape[1] >= width:
        return []
    weight = np.where(hole[rows, columns], GUESSED**2, 1).astype(np.float32)
    differs = cv2.matchTemplate(
        guess.astype(np.float32), template, cv2.TM_SQDIFF, mask=np.repeat(weight[..., None], 3, 2)
    )
    taken = cv2.matchTemplate(hole.astype(np.float32), np.ones(template.shape[:2], np.float32), cv2.TM_CCORR)
    at_y, at_x = np.mgrid[: differs.shape[0], : differs.shape[1]]
    away = np.hypot(at_y - rows.start, at_x - columns.start)
    cost = differs / (3 * weight.sum()) + FAR * away
    cost[(taken > 0.5) | ~np.isfinite(cost)] = np.inf
    best = []
    for _ in range(FOUND):
        place = np.unravel_index(cost.argmin(), cost.shape)
        if not np.isfinite(cost[place]):
            break
        best.append((float(cost[place]), (int(place[0]) - rows.start, int(place[1]) - columns.start)))
        cost[max(0, place[0] - 4) : place[0] + 5, max(0, place[1] - 4) : place[1] + 5] = np.inf
    return best


def _chosen(guess: Floats, hole: Flags, shifts: list[Shift]) -> NDArray[np.intp]:
    """For each place, the number of the shift that it is copied by: [h w]."""
    import cv2

    picture, weight = guess.copy(), np.where(hole, GUESSED, 1).astype(np.float32)
    least = chosen = np.empty(0)
    for _ in range(ROUNDS):
        least, chosen = np.full(hole.shape, np.inf, np.float32), np.zeros(hole.shape, np.intp)
        for number, shift in enumerate(shifts):
            source, usable = _moved(guess, shift), _moved(~hole, shift, False)
            unlike = np.minimum(((source - picture) ** 2).sum(axis=2), 3 * 60.0**2) * weight
            unlike += np.where(usable, 0, 1e5).astype(np.float32)
            cost = cv2.blur(unlike, (PATCH, PATCH)) + FAR * float(np.hypot(*shift)) / 4
            better = (cost < least) & usable
            least[better], chosen[better] = cost[better], number
        for number, shift in enumerate(shifts):
            here = hole & (chosen == number) & np.isfinite(least)
            picture[here] = _moved(guess, shift)[here]
        weight = np.where(hole, 0.7, 1).astype(np.float32)
    return np.where(np.isfinite(least), chosen, -1)


def _copied(picture: Picture, hole: Flags, chosen: NDArray[np.intp], shifts: list[Shift]) -> NDArray[np.float32]:
    """The full picture's hole put together by ``chosen``, pieces going over into each other: [H W 3], else the picture."""
    import cv2

    height, width = picture.shape[:2]
    across, down = width / hole.shape[1], height / hole.shape[0]
    total, sums = np.full((height, width, 1), 1e-4, np.float32), 1e-4 * picture.astype(np.float32)
    near = cv2.dilate(hole.astype(np.uint8), _round(3)) > 0
    for number in np.unique(chosen[near]):
        if number < 0:
            continue
        share = cv2.GaussianBlur((near & (chosen == number)).astype(np.float32), (0, 0), BLEND)
        rows, columns = np.flatnonzero((share > 0.01).any(axis=1)), np.flatnonzero((share > 0.01).any(axis=0))
        if not len(rows):
            continue
        top, bottom = int(rows[0] * down), min(height, int((rows[-1] + 1) * down) + 1)
        left, right = int(columns[0] * across), min(width, int((columns[-1] + 1) * across) + 1)
        x = (np.arange(left, right, dtype=np.float32) + 0.5) / across - 0.5
        y = (np.arange(top, bottom, dtype=np.float32) + 0.5) / down - 0.5
        at_x, at_y = np.meshgrid(x, y)
        much = cv2.remap(share, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[..., None]
        from_y = np.clip(np.arange(top, bottom) + round(shifts[number][0] * down), 0, height - 1)
        from_x = np.clip(np.arange(left, right) + round(shifts[number][1] * across), 0, width - 1)
        sums[top:bottom, left:right] += much * picture[from_y[:, None], from_x]
        total[top:bottom, left:right] += much
    return sums / total


def _composed(picture: Picture, painted: Floats, hole: Flags) -> Picture:
    """``painted`` in the hole, ``picture`` else. What differs at the edge is taken away smoothly all over the hole."""
    import cv2

    height, width = picture.shape[:2]
    inside = cv2.resize(hole.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    size = hole.shape[1], hole.shape[0]
    ring = (cv2.dilate(hole.astype(np.uint8), _round(2)) > 0) & ~hole
    off = cv2.resize(picture.astype(np.float32) - painted, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(spread(off, ring), (0, 0), 2.0)
    evened = painted + cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(1.0, 0.5 * width / size[0]))
    share = np.where(inside > 0, 1.0, np.where(soft < 2 / 255, 0, soft))[..., None]
    return np.asarray((picture + share * (evened - picture)).round().clip(0, 255), np.uint8)


def _moved(values: Any, shift: Shift, outside: Any = 0) -> Any:
    """At each place, what is ``shift`` from it."""
    moved = np.full_like(values, outside)
    height, width = values.shape[:2]
    y, x = shift
    moved[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)] = values[
        max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)
    ]
    return moved


def _round(radius: int) -> NDArray[np.uint8]:
    import cv2

    kernel: NDArray[np.uint8] = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return kernel
