"""What a camera sees of a still and beyond its edges: the photograph around the crop, and paint where that ends.

A camera that pans, tilts, rolls or pulls back shows what the still does not hold. Most stills are crops, and the
photograph goes on at least on two sides; ``outpaint.py`` paints the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .continuation import Sides
from .outpaint import outpaint
from .scene import bicubic

Picture = NDArray[np.uint8]
"""[H W 3]"""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in a picture's pixels, as ``media.image.crop_box`` gives them."""


@dataclass(frozen=True)
class Canvas:
    """A still with a margin. ``pixels`` is [1 3 H' W'] in [-1, 1], the still's left upper corner at ``left``, ``top``."""

    pixels: Tensor
    left: int
    top: int
    height: int
    width: int
    """Of the still."""

    @staticmethod
    def of(still: Tensor, around: tuple[Picture, Box] | None, margin: tuple[float, float]) -> Canvas:
        """``still`` uint8 [H W 3] with a ``margin`` on each side, in shares of its width and height.

        ``around`` is the picture that the still is a crop of, and the crop's box in it. The canvas is on the still's
        device, and the still is in it to the bit. What is painted is painted on the CPU, which takes 0.3 s (512x288) to
        1 s (1920x1080) of one core: ask for no margin where none is looked at.
        """
        height, width = still.shape[:2]
        x, y = math.ceil(margin[0] * width), math.ceil(margin[1] * height)
        wanted = Sides(x, y, x, y)
        known, seen = still.cpu().numpy(), Sides(0, 0, 0, 0)
        if around is not None:
            known, seen = _photograph(known, *around, wanted)
        painted = outpaint(known, wanted.less(seen))
        pixels = torch.from_numpy(painted).to(still.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        return Canvas(pixels, x, y, height, width)

    def look(self, places: Tensor) -> Tensor:
        """What is seen at ``places`` [N 2 h w] => [N 3 h w] in [-1, 1], bicubic.

        A place is x and y in halves of the still's longer side from its middle. Beyond the canvas its edge is seen.
        """
        x, y = self._in_pixels(places.to(self.pixels.device, torch.float32))
        grid = torch.stack([2 * x / self.pixels.shape[-1] - 1, 2 * y / self.pixels.shape[-2] - 1], dim=-1)
        return bicubic(self.pixels.expand(len(places), -1, -1, -1), grid).clamp_(-1, 1)

    def outside(self, places: Tensor) -> int:
        """How many of ``places`` [N 2 h w] lie beyond the canvas: none, where the margin was enough."""
        x, y = self._in_pixels(places.float())
        slack = 0.5  # of a pixel: the outermost one's own colour
        beyond = (x < -slack) | (x > self.pixels.shape[-1] + slack) | (y < -slack) | (y > self.pixels.shape[-2] + slack)
        return int(beyond.sum())

    def _in_pixels(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """x and y [N h w] from the canvas's left upper corner; a pixel's middle is at a half."""
        half = max(self.height, self.width) / 2
        return places[:, 0] * half + (self.left + self.width / 2), places[:, 1] * half + (self.top + self.height / 2)


def margin_for(places: Tensor, height: int, width: int) -> tuple[float, float]:
    """The smallest margin in which all ``places`` [N 2 h w] of a still of ``height`` x ``width`` lie."""
    far_x, far_y = places.abs().amax(dim=(0, 2, 3)).tolist()
    longer = max(height, width)
    return max(0.0, (far_x * longer / width - 1) / 2), max(0.0, (far_y * longer / height - 1) / 2)


def _photograph(still: Picture, picture: Picture, box: Box, wanted: Sides) -> tuple[Picture, Sides]:
    """``still`` with as much of the ``wanted`` sides as the picture around its ``box`` has, and how much that is.

    Whole pixels of the still's own grid, resampled as ``media.image.fit`` does, so that no seam is left.
    """
    height, width = still.shape[:2]
    left, top, right, bottom = box
    step_x, step_y = (right - left) / width, (bottom - top) / height
    there = (left / step_x, top / step_y, (picture.shape[1] - right) / step_x, (picture.shape[0] - bottom) / step_y)
    seen = Sides(*(max(0, min(want, math.floor(has + 1e-6))) for want, has in zip(wanted, there, strict=True)))
    reach = (
        max(0.0, left - seen.left * step_x),
        max(0.0, top - seen.top * step_y),
        min(float(picture.shape[1]), right + seen.right * step_x),
        min(float(picture.shape[0]), bottom + seen.bottom * step_y),
    )
    size = (width + seen.left + seen.right, height + seen.top + seen.bottom)
    whole = np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, box=reach))
    whole[seen.top : seen.top + height, seen.left : seen.left + width] = still
    return whole, seen
