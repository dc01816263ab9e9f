"""A post step with a fault, and one that wants more memory than there is."""

from __future__ import annotations

from svd_ui.post import FrameStream, PostContext, PostParams, post_step


@post_step("faulty")
class Faulty(PostParams):
    """It fails at the third frame."""

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        for index, part in enumerate(frames):
            if index == 2:
                raise KeyError("a fault of the package's own")
            yield part


@post_step("greedy")
class Greedy(PostParams):
    """It wants more memory than there is."""

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        yield next(frames)
        raise MemoryError
