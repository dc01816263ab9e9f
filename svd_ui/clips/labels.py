"""Motion labels: where a clip's motion stands among those of its training set, as the dial's 1..255."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 16


def buckets(scores: Sequence[float]) -> list[int]:
    """``motion_bucket_id`` of each clip: its share in the set's distribution of motion scores, spread over 1..255.

    Thresholds follow the data, so every part of the dial is trained whatever the set is like; equal scores get
    equal labels, and a set of one clip gets the middle.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return []
    below = (values[:, None] > values[None]).sum(axis=1)
    equal = (values[:, None] == values[None]).sum(axis=1)
    share = (below + (equal - 1) / 2) / max(len(values) - 1, 1)
    if len(values) == 1:
        share = np.array([0.5])
    return [round(1 + 254 * float(one)) for one in share]


def histogram(labels: Sequence[int]) -> list[int]:
    """How many labels fall into each of ``BINS`` equal parts of 1..255."""
    counts, _ = np.histogram(list(labels), bins=BINS, range=(1, 256))
    return [int(count) for count in counts]
