"""Checkpoints that move the still's own pixels, such as the embedded one: the difference from the still is diffused."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .svd import CheckpointFamily

if TYPE_CHECKING:
    from ...request import Speed
    from ..checkpoint import CheckpointRow


class Warp(CheckpointFamily):
    """Of a row, ``residual_scale`` and ``motion_paths`` are this family's."""

    id = "warp"
    verbs = "svd_ui.core.families.warp:WarpVerbs"

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """Fewer steps: nano's clips keep their move (docs/modes.md)."""
        return {"num_inference_steps": max(1, row.num_inference_steps // (2 if speed == "fast" else 4))}


def camera_speed(row: CheckpointRow, motion_bucket_id: float) -> float:
    """How far a clip's camera goes in a second, mean over the frame, as a share of its longer side."""
    return _path(row.motion_paths, motion_bucket_id) / row.path_seconds


def _path(known: tuple[tuple[float, float], ...], motion_bucket_id: float) -> float:
    """``known`` (motion, path) pairs, evenly between and on through 0."""
    points = [(0.0, 0.0), *known]
    for (low, a), (high, b) in pairwise(points):
        if motion_bucket_id <= high:
            break
    return a + (b - a) * (motion_bucket_id - low) / (high - low)
