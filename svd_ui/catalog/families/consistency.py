"""Few-step weights distilled from Stable Video Diffusion: each step jumps to the clean clip and is noised anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import BadInput
from ...notes import Note
from .svd import CheckpointFamily, Svd, karras, sigma_range

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ..checkpoint import CheckpointRow

GRID = 40
"""AnimateLCM-SVD-xt was distilled on this many Karras sigmas (github.com/G-U-N/AnimateLCM, its scheduler's
``num_train_timesteps``); it knows no others."""
MOST_JUMPS = 8
"""The most steps that the authors of AnimateLCM-SVD-xt show (github.com/G-U-N/AnimateLCM: 1, 2, 4 and 8)."""
REFERENCE = {"num_inference_steps": 25, "min_guidance_scale": 1.0, "max_guidance_scale": 3.0}
"""What few-step weights are compared with: so many guided steps of the model they were distilled from."""


class Consistency(CheckpointFamily):
    """It takes few steps at any speed, and shares nothing between them."""

    id = "consistency"
    shows = Svd.shows
    verbs = "svd_ui.core.families.consistency:ConsistencyVerbs"
    trainable = False
    bridges = False

    def check(self, clip: ClipSpec) -> None:
        super().check(clip)
        if clip.cache_interval > 1:
            raise BadInput(
                f"{clip.row.title} takes too few steps to reuse features: leave Reuse features at 1.",
                field="cache_interval",
            )
        if clip.num_inference_steps > GRID:
            raise BadInput(
                f"{clip.row.title} takes at most {GRID} steps and works best with 1 to {MOST_JUMPS}.",
                field="num_inference_steps",
            )

    def sigmas(self, clip: ClipSpec) -> list[float]:
        steps = clip.num_inference_steps
        return karras(GRID, *sigma_range(clip.row.folder))[:: max(1, GRID // steps)][:steps]

    def reference(self, row: CheckpointRow) -> dict[str, Any]:
        return super().reference(row) | REFERENCE

    def approximations(self, clip: ClipSpec) -> list[Note]:
        return [Note.of("few_step_weights")]

    def advice(self, clip: ClipSpec) -> list[Note]:
        if clip.num_inference_steps <= MOST_JUMPS:
            return []
        return [Note.of("more_steps_than_needed", title=clip.row.title, most=MOST_JUMPS)]
