"""What is to move, and how, before any checkpoint has seen it: the plan of a clip.

A family that moves a still's own pixels plays it as it is; others are shown it as a crude clip to follow (``core/staging.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..media.image import Box, crop_box, fit
from ..notes import Note
from .camera import CameraPath
from .marks import Mask, Point, Stroke, painted

if TYPE_CHECKING:
    from ..clip import ClipSpec

Picture = NDArray[np.uint8]
"""[H W 3]"""
Scenery = Callable[[float], Picture]
"""A picture that changes by itself: at a share of the clip's time, in front of a camera at rest."""


@dataclass(frozen=True)
class Choreography:
    """camera    the camera's path; None is the checkpoint's own, or rest where something is held
    own       a path in place of the checkpoint's own motion, where nothing is held
    parallax  how much of what depth does is shown, 1 being all
    nearness  [h w] over the frame, -0.5 far to 0.5 near; None is what the checkpoint takes it for, or flat
    hold      [H W], 1 where nothing of what the checkpoint makes may move, 0 where all of it does, less where it moves more;
              None holds nothing
    lifted    what is not held moves in front of a painted background, else it bends with its surroundings
    scenery   for the still at any size, what moves in it by itself; None for nothing
    follow    at a share of the clip's time, where a checkpoint that makes new pixels has to follow the plan, [H W]; None is
              everywhere
    led       [H W], where besides such a checkpoint follows the plan until the family lets go; None is nowhere
    to_the_end  it follows to the last step, else until the family lets go
    closed    after the last frame comes the first: the share 1 would be the first again
    stills    further stills at shares of the clip, RGB at the frame’s size, the last one at the last frame
    notes     what people should know of the plan
    rest_stays  what nobody directs is kept calm: such a checkpoint starts near the plan
    """

    camera: CameraPath | None = None
    own: CameraPath | None = None
    parallax: float = 1.0
    nearness: Mask | None = None
    hold: Mask | None = None
    lifted: bool = False
    scenery: Callable[[Picture], Scenery] | None = None
    follow: Callable[[float], Mask] | None = None
    closed: bool = False
    stills: tuple[tuple[float, Image.Image], ...] = ()
    notes: tuple[Note, ...] = ()
    led: Mask | None = None
    to_the_end: bool = False
    rest_stays: bool = True

    @property
    def moves_in_depth(self) -> bool:
        """Whether it matters how near things are."""
        paths = [path for path in (self.camera, self.own) if path is not None]
        return self.parallax > 0 and any(not path.still for path in paths)


@dataclass(frozen=True)
class View:
    """What a plan is made from. ``still`` is the RGB picture at the frame's size, ``box`` what it shows of the whole picture,
    in shares of that; ``open`` gives another picture of the request by its ref. ``last`` is when the last frame is shown, as a
    share of the clip's time: it may lie a little before the end.
    """

    still: Image.Image
    box: Box
    open: Callable[[str], Image.Image]
    seconds: float
    frames: int
    seed: int
    motion_bucket_id: int = 127
    last: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frame."""
        return self.still.size

    def mask(self, ref: str) -> Mask:
        """A black and white picture as a mask over the frame: it lies over the whole picture, whatever its size."""
        picture = self.open(ref).convert("L")
        left, top, right, bottom = self.box
        within = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        small = picture.resize(self.size, Image.Resampling.BILINEAR, box=within)
        mask: Mask = np.asarray(small, np.float32) / np.float32(255)
        return mask

    def still_of(self, ref: str) -> Image.Image:
        """Another picture at the frame's size, cut as the still is where it has the same shape, else in its middle."""
        picture = self.open(ref)
        width, height = self.size
        left, top, right, bottom = self.box
        whole = (width / (right - left)) / (height / (bottom - top))
        if abs(picture.width / picture.height / whole - 1) > 0.02:
            return fit(picture, width, height)
        within = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        return picture.convert("RGB").resize(self.size, Image.Resampling.LANCZOS, box=within)

    def painted(self, strokes: tuple[Stroke, ...]) -> Mask:
        """Where strokes lie in the frame: [H W]."""
        return painted([self._stroke(stroke) for stroke in strokes], *self.size)

    def _stroke(self, stroke: Stroke) -> Stroke:
        return replace(stroke, points=tuple(map(self.place, stroke.points)), width=stroke.width * self._scale)

    def place(self, point: Point) -> Point:
        """A place of the whole picture as shares of the frame."""
        left, top, right, bottom = self.box
        return (point[0] - left) / (right - left), (point[1] - top) / (bottom - top)

    @property
    def _scale(self) -> float:
        """What a share of the picture's longer side is as a share of the frame's."""
        width, height = self.size
        left, top, right, bottom = self.box
        whole = width / (right - left), height / (bottom - top)
        return max(whole) / max(width, height)


def view_of(clip: ClipSpec, frame: Image.Image, picture: tuple[int, int], open: Callable[[str], Image.Image]) -> View:
    """The view that ``clip``'s plan is made from. ``frame`` is its still, cut from a picture of that (width, height)."""
    left, top, right, bottom = crop_box(picture, clip.width, clip.height, clip.focus_x, clip.focus_y)
    box = left / picture[0], top / picture[1], right / picture[0], bottom / picture[1]
    shape = clip.shape
    last = clip.frame_times[-1] / max(1, clip.length - 1)
    return View(
        frame, box, open, shape.num_frames / shape.fps, shape.num_frames, clip.seed, clip.motion_bucket_id, last
    )
