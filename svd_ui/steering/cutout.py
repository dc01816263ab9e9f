"""Things cut out of a picture, with soft edges: from what was painted, a box, a place on them, or what stands out.

Two colour models, of the thing and of what is around it, and the cut between them that crosses the fewest alike neighbours
(GrabCut, Rother et al. 2004), found in a small copy. Its edge is then led by the picture's own (guided filter, He et al.
2010), at whatever size it is wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..media.image import Box
from ..media.subject import saliency, subject
from .choreography import Picture
from .marks import Mask, Point
from .remembering import remembered

WORKING_SIZE = 320
"""Longer side, in pixels, of the copy that is cut."""
ROUNDS = 3
KEPT = 6
"""Cut-outs of each kind that are remembered."""
MARGIN = 16
"""Pixels around what is looked at, known not to be the thing."""
CORE = 0.45
"""Of how broad something is painted, how far from its edge it is surely the thing: people paint over edges."""
ROUND_PAINT = 0.6
"""Of its own size, how far beyond what was painted the thing may reach."""
LEAST_REACH = 0.08
"""The same of the longer side: a dab stands for the thing that it is on."""
SIZES = (0.05, 0.08, 0.12, 0.18)
"""Of the longer side: how large something around a place may be, as radii that are tried."""
AROUND = 1.6
"""How many times as far away there is nothing of it any more."""
SMALL = 0.08
"""Power of a thing's area that its edge's clearness is divided by: of two that are as clear the smaller was meant."""
UNCLEAR = 0.02
"""Steps of colour along an edge, of 1, that are none."""
SPECK = 0.003
"""Of the picture: of what may be meant at a place, something larger counts first."""
LEAST = 0.0008
"""Of the picture: less than that is no thing."""
EDGE = 0.006
"""Of the longer side: how far a soft edge reaches to both sides of a cut."""
SMOOTH = 1e-4
"""Variance of colours in 0..1 below which nothing counts as an edge."""
STANDS_OUT = 0.35
"""Of the most salient place."""
WIDEST = 0.35
"""Of the picture: what lies farther apart is not taken for one thing."""
PART, MIDDLE = 0.07, (0.1, 0.06, 0.9, 1.0)
"""What is smaller is a part, such as an eye, of what fills the middle."""

Labels = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@remembered(KEPT)
def of_paint(picture: Picture, paint: Mask) -> Mask:
    """The thing that somebody painted over, roughly or in part: ``paint`` [H W] => [H W]. What was painted where none is found."""
    import cv2

    small, mask = _small(picture), _like(paint, picture) > 0.5
    if not mask.any():
        return paint
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    reach = max(ROUND_PAINT * float(np.sqrt(mask.sum())), LEAST_REACH * max(mask.shape))
    labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    labels[_away_from(mask) < reach] = cv2.GC_PR_BGD
    labels[mask] = cv2.GC_PR_FGD
    labels[_core(mask, inside)] = cv2.GC_FGD
    return _edged(picture, _clearly(small, _cut(small, labels), mask), mask)


@remembered(KEPT)
def of_box(picture: Picture, box: Box) -> Mask:
    """The thing in a ``box`` of shares of the picture: [H W]. An ellipse in it where nothing stands out from what is around."""
    import cv2

    small = _small(picture)
    height, width = small.shape[:2]
    left, right = (round(min(max(share, 0), 1) * width) for share in (box[0], box[2]))
    top, bottom = (round(min(max(share, 0), 1) * height) for share in (box[1], box[3]))
    y, x = np.mgrid[:height, :width]
    across, down = max(right - left, 1), max(bottom - top, 1)
    away = np.hypot((x + 0.5 - (left + right) / 2) / across, (y + 0.5 - (top + bottom) / 2) / down)
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    labels[(labels == cv2.GC_PR_FGD) & (away < 0.08)] = cv2.GC_FGD
    oval = (away < 0.5) & (labels != cv2.GC_BGD)
    return _edged(picture, _clearly(small, _cut(small, labels), oval), oval)


@remembered(KEPT)
def at_place(picture: Picture, place: Point) -> Mask:
    """The thing at a ``place`` of shares of the picture: [H W]. Of several sizes the one whose edge is the clearest."""
    small = _small(picture)
    height, width = small.shape[:2]
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x + 0.5 - place[0] * width, y + 0.5 - place[1] * height) / max(height, width)
    edges = _edges(small)
    tried = [(_around(small, away, size), size) for size in SIZES]
    scored = [
        (
            _clear(found, edges, away < AROUND * size) * found[away < size].sum() / found.sum() / found.mean() ** SMALL,
            found,
        )
        for found, size in tried
        if found.sum() > 1.5 * (away < _seed(size)).sum()
    ]
    scored = [pair for pair in scored if pair[1].mean() >= SPECK] or scored
    best = max(scored, key=lambda pair: pair[0])[1] if scored else np.zeros(away.shape, bool)
    return _edged(picture, best, away < SIZES[0])


@remembered(KEPT)
def standing_out(picture: Picture) -> Mask:
    """What the picture is of, [H W]: people with faces, else what is most salient."""
    import cv2

    small = _small(picture)
    height, width = small.shape[:2]
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    sure, likely = _people(small) or _salient(small)
    labels[likely] = cv2.GC_PR_FGD
    labels[sure] = cv2.GC_FGD
    edge = max(2, round(0.02 * max(height, width)))
    labels[:edge], labels[:-edge, :edge], labels[:-edge, -edge:] = cv2.GC_BGD, cv2.GC_BGD, cv2.GC_BGD
    found = _whole(_cut(small, labels), likely)
    return of_box(picture, MIDDLE) if found.mean() < PART else _edged(picture, found, likely)


def refined(picture: Picture, mask: Mask) -> Mask:
    """``mask``, of any size, as a soft edge of ``picture`` [H W 3]: [H W]. It follows the picture's own edges near its own."""
    import cv2

    height, width = picture.shape[:2]
    rough = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    reach = max(2, round(EDGE * max(height, width)))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    led = np.clip((_guided(grey, rough, reach) - 0.15) / 0.7, 0, 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    led = np.minimum(led, cv2.dilate(rough, kernel))
    found: Mask = np.maximum(led, cv2.erode(rough, kernel, borderType=cv2.BORDER_REPLICATE)).astype(np.float32)
    found[found < 2 / 255], found[found > 253 / 255] = 0, 1
    return found


def _guided(guide: Mask, mask: Mask, reach: int) -> Mask:
    """``mask`` as, around each place, a straight line of ``guide``'s brightness."""
    import cv2

    def mean(values: Mask) -> Mask:
        blurred: Mask = cv2.blur(values, (2 * reach + 1, 2 * reach + 1))
        return blurred

    middle, level = mean(guide), mean(mask)
    slope = (mean(guide * mask) - middle * level) / (mean(guide * guide) - middle**2 + SMOOTH)
    led: Mask = mean(np.asarray(slope, np.float32)) * guide + mean(np.asarray(level - slope * middle, np.float32))
    return led


def _cut(small: Picture, labels: Labels) -> Flags:
    """What belongs to the thing, by GrabCut's labels; the same for the same picture."""
    import cv2

    found = np.zeros(labels.shape, bool)
    here = _window(labels != cv2.GC_BGD)
    inner = labels[here].copy()
    if not ((inner == cv2.GC_BGD) | (inner == cv2.GC_PR_BGD)).any():
        found[here] = True
        return found
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(small[here]), inner, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found[here] = (inner == cv2.GC_FGD) | (inner == cv2.GC_PR_FGD)
    return found


def _window(mask: Flags) -> tuple[slice, slice]:
    """Where ``mask`` is, with a margin from which what is around can be learnt."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, rows[0] - MARGIN), rows[-1] + 1 + MARGIN),
        slice(max(0, columns[0] - MARGIN), columns[-1] + 1 + MARGIN),
    )


def _around(small: Picture, away: NDArray[np.floating[Any]], size: float) -> Flags:
    import cv2

    labels = np.full(away.shape, cv2.GC_BGD, np.uint8)
    labels[away < AROUND * size] = cv2.GC_PR_BGD
    labels[away < size] = cv2.GC_PR_FGD
    labels[away < _seed(size)] = cv2.GC_FGD
    return _whole(_cut(small, labels), away < _seed(size))


def _seed(size: float) -> float:
    """How far around a place it is surely the thing, where that is as large."""
    return max(0.2 * size, 0.008)


def _clearly(small: Picture, found: Flags, instead: Flags) -> Flags:
    """What was found, where it has an edge to speak of."""
    return found if _clear(found, _edges(small), np.ones_like(found)) > UNCLEAR else instead


def _clear(found: Flags, edges: Mask, allowed: Flags) -> float:
    """How clear the edge of what was found is; one that runs along the limit of what was allowed is none."""
    import cv2

    ring = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    ring[[0, -1]], ring[:, [0, -1]] = False, False
    limit = cv2.erode(allowed.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    if not ring.any():
        return 0.0
    jagged = ring.sum() / np.sqrt(max(1, found.sum())) / 4.5
    free = float((ring & ~limit).sum() / ring.sum())
    return float(edges[ring & ~limit].sum() / ring.sum() / max(1.0, jagged)) * free**2


def _edges(small: Picture) -> Mask:
    import cv2

    smooth = cv2.GaussianBlur(small, (0, 0), 1.5).astype(np.float32) / 255
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strong: Mask = np.sqrt((across**2 + down**2).sum(axis=2))
    edges: Mask = np.minimum(cv2.dilate(strong, np.ones((3, 3), np.uint8)), 1)
    return edges


def _edged(picture: Picture, found: Flags, instead: Flags) -> Mask:
    """What was found as a soft mask of ``picture``; ``instead`` where that is next to nothing."""
    whole = _whole(found, instead)
    return refined(picture, (whole if whole.mean() > LEAST else instead).astype(np.float32))


def _whole(found: Flags, seed: Flags) -> Flags:
    """The pieces of ``found`` that ``seed`` touches in earnest, without small holes, cracks and hairs."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    tidy = cv2.morphologyEx(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(tidy, connectivity=4)
    touched = np.bincount(pieces[seed], minlength=len(stats))
    touched[0] = 0
    keep = touched > 0.1 * max(1, touched.max())
    whole: Flags = keep[pieces]
    _, gaps, stats, _ = cv2.connectedComponentsWithStats((~whole).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.03 * whole.sum()
    small[0] = False
    filled: Flags = whole | small[gaps]
    return filled


def _core(mask: Flags, inside: Mask) -> Flags:
    """Where each piece of ``mask`` is painted broadest."""
    import cv2

    count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    core = np.zeros_like(mask)
    for piece in range(1, count):
        here = pieces == piece
        core |= here & (inside >= CORE * inside[here].max())
    return core


def _people(small: Picture) -> tuple[Flags, Flags] | None:
    """(the middles of faces, people): heads with shoulders and all below. None where there is no face."""
    height, width = small.shape[:2]
    y, x = np.mgrid[:height, :width]
    across, down = (x + 0.5) / width, (y + 0.5) / height
    faces, people = np.zeros((2, height, width), bool)
    for left, top, right, bottom in subject(Image.fromarray(small)).heads:
        wide, tall, middle = right - left, bottom - top, (left + right) / 2
        oval = np.hypot((across - middle) / wide, (down - (top + bottom) / 2) / tall)
        faces |= oval < 0.28
        people |= (oval < 0.5) | ((down > bottom - 0.1 * tall) & (np.abs(across - middle) < 1.1 * wide))
    return (faces, people) if faces.any() else None


def _salient(small: Picture) -> tuple[Flags, Flags]:
    """(what stands out most, what belongs together around it)."""
    import cv2

    height, width = small.shape[:2]
    found = saliency(Image.fromarray(small)).astype(np.float32)
    stands = cv2.resize(found / found.max(), (width, height), interpolation=cv2.INTER_LINEAR)
    strong = (stands > STANDS_OUT).astype(np.uint8)
    _, pieces = cv2.connectedComponents(strong)
    mass = np.bincount(pieces.ravel(), stands.ravel() * strong.ravel())
    among = _hull((mass > 0.4 * mass.max())[pieces])
    if among.mean() > WIDEST:
        among = _hull(pieces == mass.argmax())
    return (stands > 0.9) & among, among


def _hull(mask: Flags) -> Flags:
    import cv2

    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return hull > 0


def _away_from(mask: Flags) -> Mask:
    import cv2

    away: Mask = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return away


def _small(picture: Picture) -> Picture:
    import cv2

    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIZE / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small


def _like(mask: Mask, picture: Picture) -> Mask:
    """``mask`` at the size of the small copy."""
    import cv2

    height, width = _small(picture).shape[:2]
    small: Mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return small
