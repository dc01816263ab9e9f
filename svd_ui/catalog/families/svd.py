"""Stable Video Diffusion and what was fine-tuned from it: the latents are diffused, in many small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..noise import SVD_RANGE, ays
from .family import CheckpointFamily

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ...request import Speed
    from ..checkpoint import CheckpointRow


class Svd(CheckpointFamily):
    """Steps are like each other, so features can be reused, and AYS says which few to take."""

    id = "svd"

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        if speed == "fast":
            return {"cache_interval": 3}
        if self.knows_ays(row):
            return {"schedule": "ays", "num_inference_steps": 10, "cache_interval": 2}
        return {"num_inference_steps": max(1, row.num_inference_steps // 2), "cache_interval": 2}

    def knows_ays(self, row: CheckpointRow) -> bool:
        return row.sigma_reference == SVD_RANGE[1]

    def sigmas(self, clip: ClipSpec) -> list[float]:
        if clip.schedule == "ays" and self.knows_ays(clip.row):
            return ays(clip.num_inference_steps)
        return super().sigmas(clip)
