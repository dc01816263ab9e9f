"""A loop without a turn: the end of the clip fades into its beginning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from . import Frames, FrameStream, PostContext, PostParams, post_step

if TYPE_CHECKING:
    from ..clip import ClipShape


@post_step("crossfade_loop")
class CrossfadeLoop(PostParams):
    """The last frames fade into the first ones, so that the clip repeats without a jump."""

    overlap: int = Field(
        4,
        ge=1,
        le=32,
        title="Overlap",
        description="Frames in the fade, at most half of the clip. The clip gets that much shorter.",
    )

    def changes(self, shape: ClipShape) -> ClipShape:
        return replace(shape, num_frames=shape.num_frames - self._fading(shape))

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        """Holds as many frames at its beginning and its end as fade; the others pass.

        Frame F - n + i, the i-th of the n last ones, becomes the mixture of itself and frame i that is (i + 1) / (n + 1)
        of the latter, so what follows the last frame is frame n, with which the clip begins.
        """
        count = self._fading(context.shape)
        first: list[Frames] = []
        held: list[Frames] = []
        for frame in (part[index : index + 1] for part in frames for index in range(len(part))):
            if len(first) < count:
                first.append(frame)
                continue
            held.append(frame)
            if len(held) > count:
                yield held.pop(0)
        for index, (last, begun) in enumerate(zip(held, first, strict=True)):
            yield _mixed(last, begun, (index + 1) / (count + 1))

    def _fading(self, shape: ClipShape) -> int:
        """At most half of the clip can fade into the other half."""
        return min(self.overlap, shape.num_frames // 2)


def _mixed(a: Frames, b: Frames, share: float) -> Frames:
    mixture = a.astype(np.float32) * (1 - share) + b.astype(np.float32) * share
    return mixture.round().astype(np.uint8)
