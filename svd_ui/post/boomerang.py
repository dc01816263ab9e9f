"""There and back: a loop that closes because it turns round."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from . import FrameStream, PostContext, PostParams, post_step

if TYPE_CHECKING:
    from ..clip import ClipShape


@post_step("boomerang")
class Boomerang(PostParams):
    """The clip runs forward, then back to its beginning."""

    def changes(self, shape: ClipShape) -> ClipShape:
        """The two end frames are shown once each, or they would seem to stand still."""
        return replace(shape, num_frames=max(shape.num_frames, 2 * shape.num_frames - 2))

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        """What passes is kept for the way back, on the disk: three seconds of 1080p are 400 MB."""
        from ..media.animation import FrameSpool

        with closing(FrameSpool()) as seen:
            for part in frames:
                seen.add(part)
                yield part
            for index in range(len(seen) - 2, 0, -1):
                yield seen[index][None]
