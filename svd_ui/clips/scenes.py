"""Where a clip cuts to another scene, and how much moves between cuts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .decoding import Frame

SMALL = 16
CUT_LEVEL = 0.06
CUT_RATIO = 3.0
_NEAR = 4


def thumbnail(frame: Frame) -> NDArray[np.float32]:
    """``[H W 3]`` => ``[SMALL SMALL 3]`` means in 0..1: enough to tell scenes apart, blind to grain."""
    h, w = frame.shape[:2]
    rows = np.linspace(0, h, SMALL + 1).astype(int)[:-1]
    columns = np.linspace(0, w, SMALL + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(frame.astype(np.float32), rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, h]), np.diff([*columns, w]))[..., None]
    return np.asarray(sums / areas / 255.0, dtype=np.float32)


def cuts(thumbnails: list[NDArray[np.float32]]) -> list[int]:
    """Indices of frames that begin a new scene; 0 is always one.

    A cut is a change that is large by itself and several times the usual change around it, so that neither
    a fast pan (large everywhere) nor a flicker of grain (small) counts.
    """
    if len(thumbnails) < 2:
        return [0]
    changes = np.array([np.abs(b - a).mean() for a, b in pairwise(thumbnails)])
    return [0, *(index + 1 for index, change in enumerate(changes) if _is_cut(changes, index, float(change)))]


def _is_cut(changes: NDArray[np.floating], index: int, change: float) -> bool:
    around = np.delete(changes[max(0, index - _NEAR) : index + _NEAR + 1], min(index, _NEAR))
    usual = float(np.median(around)) if len(around) else 0.0
    return change > CUT_LEVEL and change > CUT_RATIO * usual


def motion_score(frames: NDArray[np.uint8]) -> float:
    """Mean over pixels of the standard deviation in time of frames ``[F H W 3]`` taken to [-1, 1].

    0 for a still; about 0.02 for a calm clip. What motion labels are made of (``labels.buckets``).
    """
    levels = frames.astype(np.float32) / 127.5 - 1
    return float(levels.std(axis=0).mean())
