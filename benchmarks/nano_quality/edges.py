"""What of a clip is not the still's own: pixels looked up beyond its edges."""

from __future__ import annotations

import numpy as np

from svd_ui.core.optical_flow import upsample

from .checkpoint import Clip, Nano
from .tracks import Grid


def beyond(nano: Nano, clip: Clip) -> float:
    """Share of all pixels of ``clip`` that show a place outside the still, by the decoder's own look-up."""
    height, width = clip.frames.shape[1:3]
    flow = upsample(nano.runtime.vae.displacement(clip.latents), nano.runtime.patch).numpy()
    return float((_leaves(flow[:, 0], width, 2) | _leaves(flow[:, 1], height, 1)).mean())


def _leaves(flow: Grid, side: int, axis: int) -> Grid:
    """Whether pixel centres along ``axis`` of ``flow`` [F H W], moved by it, lie outside 0 .. ``side``."""
    shape = [1, 1, 1]
    shape[axis] = side
    at = np.arange(side).reshape(shape) + 0.5 + flow
    return np.asarray((at < 0) | (at > side))
