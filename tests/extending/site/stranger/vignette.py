"""A post step in one file: the corners get darker, frame by frame."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from svd_ui.post import FrameStream, PostContext, PostParams, post_step


@post_step("vignette")
class Vignette(PostParams):
    """The corners get darker."""

    strength: float = Field(0.5, ge=0, le=1, title="Vignette strength", description="0 leaves the clip as it is.")

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        height, width = context.shape.height, context.shape.width
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        shade = (1 - self.strength * np.clip((x**2 + y**2) / 2, 0, 1))[..., None]
        for part in frames:
            yield (part * shade).round().astype(np.uint8)
