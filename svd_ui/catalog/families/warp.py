"""Checkpoints that move the still's own pixels, such as the embedded one: the difference from the still is diffused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import BadInput
from .svd import CheckpointFamily

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ...request import Speed
    from ..checkpoint import CheckpointRow
    from ..profiles import ProfileRow

FILM = 24
"""Frames a second where nobody says."""
PIXELS_AT_ONCE = 1920 * 1080
"""Of all frames that are rendered together: about 150 MB while they are (one frame of 1080p), and enough to be quick."""
LOOK_UP_FLOPS = 1500.0
"""What looking up one pixel takes of a processor's time, in operations it could have done instead: it waits for memory."""


class Warp(CheckpointFamily):
    """Motion is a field, so frames are rendered at any size and time. Of a row, ``motion_paths``, ``path_seconds`` and
    ``moves`` are this family's.
    """

    id = "warp"
    shows = "The camera moves, and water, clouds and leaves stir a little. Nothing is invented, and nobody walks."
    labels = {"num_frames": "Key frames", "fps": "Key FPS"}
    help = {
        "motion_bucket_id": "How far the camera moves: 127 is 5 % of the width, 255 12 %.",
        "seed": "Decides the camera’s move: push, pull, pan, tilt, roll or arc. Blank: a new one each time.",
        "num_frames": "More key frames make a longer clip.",
        "fps": "Fewer key frames a second make it longer and slower.",
        "output_fps": "How smoothly it plays: frames between the key frames are rendered, the length stays the same.",
        "noise_aug_strength": "Has little effect here: the clip is made of the picture’s own pixels.",
    }
    verbs = "svd_ui.core.families.warp:WarpVerbs"

    def defaults(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """The size of the frames decides how many are made at once."""
        own = super().defaults(row, speed)
        own.pop("decode_chunk_size", None)
        return own | {"output_fps": FILM}

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """Fewer steps: nano's clips keep their move (docs/modes.md)."""
        return {"num_inference_steps": max(1, row.num_inference_steps // (2 if speed == "fast" else 4))}

    def renders(self, row: CheckpointRow) -> bool:
        return True

    plays_plans = True

    def follows(self, clip: ClipSpec) -> tuple[float, float]:
        """From the first step to the last: it is the plan that is seen."""
        return math.inf, 0.0

    def check_row(self, row: CheckpointRow) -> None:
        if not (row.motion_paths and row.moves):
            raise BadInput(
                f"{row.title} was made for an earlier nano, whose motion this version cannot read: train it anew.",
                field="checkpoint",
            )

    def check(self, clip: ClipSpec) -> None:
        super().check(clip)
        if clip.shape.num_frames < 2:
            raise BadInput(
                f"At {clip.output_fps} frames a second this clip of {(clip.num_frames - 1) / clip.fps:.2g} s would be a "
                "single picture: raise Playback FPS.",
                field="output_fps",
            )

    def frames_at_once(self, clip: ClipSpec, profile: ProfileRow) -> int:
        return max(1, PIXELS_AT_ONCE // (clip.shape.width * clip.shape.height))

    def rendering_flops(self, clip: ClipSpec) -> float:
        shape = clip.shape
        return LOOK_UP_FLOPS * shape.num_frames * shape.width * shape.height
