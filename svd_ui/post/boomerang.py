"""There and back: a loop that closes because it turns round."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import Frames, FrameStream, PostContext, PostParams, post_step

if TYPE_CHECKING:
    from ..clip import ClipShape


@post_step("boomerang")
class Boomerang(PostParams):
    """The clip runs forward, then back to its beginning."""

    def changes(self, shape: ClipShape) -> ClipShape:
        """The two end frames are shown once each, or they would seem to stand still."""
        return replace(shape, num_frames=max(shape.num_frames, 2 * shape.num_frames - 2))

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        """What passes is kept for the way back, so memory holds the clip once."""
        seen: list[Frames] = []
        for part in frames:
            seen += [part[index : index + 1] for index in range(len(part))]
            yield part
        yield from reversed(seen[1:-1])
