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
    shows = (
        "The camera moves, and water, clouds, leaves and smoke stir a little. Nothing is invented, and nobody walks."
    )
    labels = {"num_frames": "Key frames", "fps": "Key FPS"}
    help = {
        "motion_bucket_id": "How far the camera moves: 127 is 5 % of the width, 255 12 %.",
        "seed": "Decides the camera’s move: push, pull, pan, tilt, roll or arc. Blank = a new one.",
        "num_frames": "More key frames make a longer clip.",
        "fps": "Fewer key frames a second make it longer and slower.",
        "output_fps": "How smoothly it plays: frames between the key frames are rendered, the length stays the same.",
        "noise_aug_strength": "Has little effect here: the clip is made of the picture’s own pixels.",
    }
    least_start = 1 / 15  # nano then moves 1.6 times as far
    verbs = "svd_ui.core.families.warp:WarpVerbs"

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """Fewer steps: nano's clips keep their move, a little slower (docs/modes.md)."""
        return {"num_inference_steps": max(1, row.num_inference_steps // (2 if speed == "fast" else 4))}
