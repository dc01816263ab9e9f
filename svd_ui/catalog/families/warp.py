"""Checkpoints that move the still's own pixels, such as the embedded one: the difference from the still is diffused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .svd import CheckpointFamily

if TYPE_CHECKING:
    from ...request import Speed
    from ..checkpoint import CheckpointRow


class Warp(CheckpointFamily):
    """Of a row, ``residual_scale`` and ``motion_gain`` are this family's."""

    id = "warp"
    least_start = 1 / 15  # nano then moves 1.6 times as far
    verbs = "svd_ui.core.families.warp:WarpVerbs"

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """Fewer steps: nano's clips keep their move, a little slower (docs/modes.md)."""
        return {"num_inference_steps": max(1, row.num_inference_steps // (2 if speed == "fast" else 4))}
