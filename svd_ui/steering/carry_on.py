"""A clip carried on as its last frames moved: the crude reference that a longer clip is anchored to.

Optical flow by dense inverse search (Kroeger et al., ECCV 2016, arXiv 1603.03590), which OpenCV has. Each pixel of the last
frame goes on along its own; where two meet, the one that moves less like most of the frame is in front: a camera moves most
of it, a subject that it follows stays where it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]

UNCOVERED = 1.5
"""Pixels by which what a place looks up must move otherwise for the place to have been uncovered, not torn open."""
REACH = 3.0
"""Pixels around a hole that its filling is made of."""


def carried_on(frames: Frames, count: int) -> Frames:
    """The last of ``frames`` ``[K H W 3]`` (RGB, K >= 2) and what comes after it => ``[count H W 3]``; the first is itself.

    Motion is that between the last two: over more of them what moves fast is lost.
    Places that come into the frame repeat its edge, those that something moved away from are filled from around them.
    Frames below 16 pixels on a side are too small for the flow: raises ValueError, as with fewer than two frames.
    """
    if len(frames) < 2 or min(frames.shape[1:3]) < 16:
        raise ValueError("at least two frames of at least 16 pixels are needed to see motion")
    last = np.ascontiguousarray(frames[-1])
    velocity = _velocity(frames)
    unlike = ((velocity - np.median(velocity, (0, 1))) ** 2).sum(-1)
    ahead = np.argsort(unlike, axis=None, kind="stable")
    moved = [_moved(last, velocity * np.float32(step), ahead) for step in range(1, count)]
    return np.stack([last, *moved])


def _velocity(frames: Frames) -> Floats:
    """How far each pixel of the last of ``frames`` goes in a step, ``[H W 2]``: x, then y."""
    import cv2

    before, last = (cv2.cvtColor(np.ascontiguousarray(one), cv2.COLOR_RGB2GRAY) for one in frames[-2:])
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    flow = search.calc(last, before, np.zeros((*last.shape, 2), np.float32))
    return -np.asarray(flow, np.float32)


def _moved(picture: Frames, shift: Floats, ahead: NDArray[np.intp]) -> Frames:
    """``picture`` ``[H W 3]`` with its pixels moved by ``shift`` ``[H W 2]``; later ones of ``ahead`` are in front."""
    import cv2

    rows, columns = np.indices(picture.shape[:2], np.float32)
    arriving, holes = _scattered(shift, ahead)
    x, y = columns - arriving[..., 0], rows - arriving[..., 1]
    moved = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    uncovered = holes & _inside(x, y) & (_differing(shift, arriving, x, y) > UNCOVERED)
    if uncovered.any():
        # Blended edges of what moved away would be smeared into the hole: they go too.
        moved = cv2.inpaint(
            moved, cv2.dilate(uncovered.astype(np.uint8), np.ones((3, 3), np.uint8)), REACH, cv2.INPAINT_TELEA
        )
    return np.asarray(moved, np.uint8)


def _scattered(shift: Floats, ahead: NDArray[np.intp]) -> tuple[Floats, NDArray[np.bool_]]:
    """``shift`` of what arrives at each place, and where nothing does: there it is that of the nearest place."""
    import cv2

    height, width = shift.shape[:2]
    rows, columns = np.divmod(ahead, width)
    shifts = shift.reshape(-1, 2)[ahead]
    to_row = np.rint(rows + shifts[:, 1]).astype(np.intp)
    to_column = np.rint(columns + shifts[:, 0]).astype(np.intp)
    inside = (to_row >= 0) & (to_row < height) & (to_column >= 0) & (to_column < width)
    arriving, holes = np.zeros_like(shift), np.ones((height, width), bool)
    arriving[to_row[inside], to_column[inside]] = shifts[inside]
    holes[to_row[inside], to_column[inside]] = False
    if holes.all():
        return np.zeros_like(shift), holes
    _, labels = cv2.distanceTransformWithLabels(
        holes.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((labels.max() + 1, 2), np.float32)
    by_label[labels[~holes]] = arriving[~holes]
    return by_label[labels], holes


def _inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
    height, width = x.shape
    return np.asarray((x > -1) & (x < width) & (y > -1) & (y < height))


def _differing(shift: Floats, arriving: Floats, x: Floats, y: Floats) -> Any:
    """By how many pixels what is looked up at ``(x, y)`` moves otherwise than ``arriving``."""
    height, width = x.shape
    there = shift[np.clip(np.rint(y), 0, height - 1).astype(int), np.clip(np.rint(x), 0, width - 1).astype(int)]
    return np.linalg.norm(there - arriving, axis=-1)
