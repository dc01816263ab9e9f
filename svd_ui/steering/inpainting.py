"""A picture without something in it: what was behind is painted from what is around (Telea 2004)."""

from __future__ import annotations

import numpy as np

from .choreography import Picture
from .marks import Mask
from .vision import opencv

WORKING_SIZE = 512
"""Longer side at which the hole is painted; it is smooth, so more detail would only cost time."""
GROWN = 5
"""Pixels at that size by which the hole is larger: a cut-out's edge holds some of its colour."""


def without(picture: Picture, mask: Mask) -> Picture:
    """``picture`` with what ``mask`` [H W] covers painted over; to the bit where it covers nothing."""
    cv2 = opencv()
    height, width = mask.shape
    scale = min(1.0, WORKING_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    hole = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0.02).astype(np.uint8)
    hole = cv2.dilate(hole, np.ones((2 * GROWN + 1, 2 * GROWN + 1), np.uint8))
    painted = cv2.resize(cv2.inpaint(small, hole, 5, cv2.INPAINT_TELEA), (width, height), interpolation=cv2.INTER_CUBIC)
    share = cv2.GaussianBlur(cv2.resize(hole.astype(np.float32), (width, height)), (0, 0), 1 / scale)
    share = np.where(cv2.resize(hole, (width, height), interpolation=cv2.INTER_NEAREST) > 0, 1.0, share)[..., None]
    share[share < 1 / 255] = 0
    mixed = picture + share * (painted.astype(np.float32) - picture)
    without: Picture = mixed.round().clip(0, 255).astype(np.uint8)
    return without
