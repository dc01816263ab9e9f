"""Post steps: what is done to a clip's frames after they are decoded. One file per kind; see ``docs/extending.md``.

Steps stream: each takes an iterator of frames and gives one, and several are chained in the request's order. A step
that needs torch imports it inside ``apply``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from .. import plugins
from ..plugins import ByKind, Params, Registry

if TYPE_CHECKING:
    from PIL import Image

    from ..clip import ClipShape
    from ..events import CancelToken

Frames = NDArray[np.uint8]
"""Consecutive frames, ``[f H W 3]`` in sRGB."""
FrameStream = Iterator[Frames]
"""A clip in order, a few frames at a time; how many lie in one piece means nothing."""


@dataclass(frozen=True)
class PostContext:
    """What a step is told beside the frames.

    ``shape`` is the clip's as it comes in, ``still`` what was animated (RGB at the clip's size), ``latents`` the final
    latents ``[1 F C h w]``, ``device`` the name of the torch device. A long step asks ``cancel`` and calls ``progress``
    (done, total); frames that pass through are counted without it.
    """

    shape: ClipShape
    still: Image.Image
    latents: Any
    device: str
    cancel: CancelToken
    progress: Callable[[int, int], None]


class PostParams(Params):
    """Base of the parameters of a post step."""

    def changes(self, shape: ClipShape) -> ClipShape:
        """The clip's shape after this step: frames, size, rate."""
        return shape

    def flops(self, shape: ClipShape) -> float:
        """Operations on the device for a clip of ``shape``; 0 where they are few beside one call of a U-Net."""
        return 0.0

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        """``frames`` after this step. Takes no more of them at once than it needs."""
        raise NotImplementedError


POST: Registry[PostParams] = Registry(plugins.POST, __name__)
post_step = POST.register
"""``@post_step("boomerang")`` makes a subclass of ``PostParams`` a kind of post step."""

PostStep = Annotated[PostParams, ByKind(POST)]
