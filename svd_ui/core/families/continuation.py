"""What is likely beyond a picture's edges, blurred: edges go on in their direction, colours soften with distance.

The first guess and the guide of ``outpaint.py``. Everything here is small, float32 and on the CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

STRIP = 8
"""Cells from the edge inwards in which the directions of edges are measured."""
SOFTNESS = 0.25
"""Cells of blur along the edge for each cell of distance from it: what goes on far out is less and less certain."""


class Sides(NamedTuple):
    """Pixels, or cells, on each side of a picture."""

    left: int
    top: int
    right: int
    bottom: int

    def less(self, other: Sides) -> Sides:
        return Sides(*(a - b for a, b in zip(self, other, strict=True)))


def continued(picture: Tensor, sides: Sides) -> Tensor:
    """``picture`` [1 C h w], the first three channels its colours => with ``sides`` around it."""
    wide = _to_the_right(picture, sides.right)
    wide = _to_the_right(wide.flip(3), sides.left).flip(3).transpose(2, 3)
    tall = _to_the_right(wide, sides.bottom)
    return _to_the_right(tall.flip(3), sides.top).flip(3).transpose(2, 3)


def _to_the_right(picture: Tensor, count: int) -> Tensor:
    if count == 0:
        return picture
    height = picture.shape[2]
    rows = torch.arange(height, dtype=torch.float32)[:, None]
    depth = torch.arange(1, count + 1, dtype=torch.float32).expand(height, count)
    slope = _slopes(picture)
    start = rows.expand(height, count)
    for _ in range(4):  # where the line through (row, depth) left the picture; its slope is that place's own
        start = rows - _between(slope, start) * depth
    beyond = spread(picture[0, :, :, -2:].mean(dim=2), start, depth)[None]
    return torch.cat([picture, beyond], dim=3)


def spread(line: Tensor, rows: Tensor, depth: Tensor) -> Tensor:
    """``line`` [C h] looked up at ``rows`` [h n], the softer the larger the ``depth`` [h n] => [C h n]."""
    softened = torch.stack([line, *(blur(line[None, :, :, None], scale)[0, :, :, 0] for scale in (1, 2, 4, 8, 16))])
    level = (1 + torch.log2((0.5 + SOFTNESS * depth).clamp(0.5, 16))).clamp(0, 5)
    lower = level.floor().long().clamp(max=4)
    seen, share = _between(softened, rows), level - lower
    at = lower.expand(1, *seen.shape[1:])
    beyond: Tensor = seen.gather(0, at) * (1 - share) + seen.gather(0, at + 1) * share
    return beyond[0]


def _slopes(picture: Tensor) -> Tensor:
    """Rows per column that edges rise by at the right edge [h], at most 1; 0 where there is nothing to follow.

    Least squares over a window: with gradients g, a line along (1, m) fits best with m = -sum(gx gy) / sum(gy gy), the
    structure tensor of Foerstner and Guelch 1987; sum(gx gx) beneath keeps upright and unclear edges from running away.
    """
    grey = blur(picture[:, :3].mean(dim=1, keepdim=True), 0.7)
    framed = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    x = (framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2])[0, 0, :, -STRIP:]
    y = (framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1])[0, 0, :, -STRIP:]
    sums = torch.stack([(x * x).mean(dim=1), (y * y).mean(dim=1), (x * y).mean(dim=1)])
    xx, yy, xy = blur(sums[None, :, :, None], 3)[0, :, :, 0]
    clear = ((xx - yy).square() + 4 * xy.square()) / ((xx + yy).square() + 1e-8)  # 1: all one edge, 0: none
    slopes: Tensor = clear * (-xy / (yy + 0.3 * xx + 1e-5)).clamp(-1, 1)
    return slopes


def _between(values: Tensor, rows: Tensor) -> Tensor:
    """``values`` [... h] looked up evenly between rows, at ``rows`` [h n] => [... h n]."""
    last = values.shape[-1] - 1
    rows = rows.clamp(0, last)
    upper = rows.floor().long()
    share = rows - upper
    return values[..., upper] * (1 - share) + values[..., (upper + 1).clamp(max=last)] * share


def roughness(picture: Tensor) -> Tensor:
    """How rough the picture [1 3 h w] is around each pixel, across and down => [1 2 h w] (Newson et al. 2014).

    Told to the search, it keeps leaves leafy: of two patches of one colour the smooth one is else always the safer.
    """
    grey = picture.mean(dim=1, keepdim=True)
    across = functional.pad(grey.diff(dim=3).abs(), (0, 1, 0, 0))
    down = functional.pad(grey.diff(dim=2).abs(), (0, 0, 0, 1))
    roots = torch.cat([across, down], dim=1).sqrt_()  # of which the mean is low where only one sharp edge is
    return blur(roots, 2).square_()


def blur(picture: Tensor, scale: float) -> Tensor:
    """Gaussian of standard deviation ``scale`` pixels over [N C h w], the edge going on."""
    reach = max(1, round(3 * scale))
    weights = torch.exp(-(torch.arange(-reach, reach + 1, dtype=torch.float32) ** 2) / (2 * scale**2))
    weights = (weights / weights.sum()).expand(picture.shape[1], 1, 1, -1)
    if picture.shape[3] > 1:
        picture = functional.pad(picture, (reach, reach, 0, 0), mode="replicate")
        picture = functional.conv2d(picture, weights, groups=picture.shape[1])
    if picture.shape[2] > 1:
        picture = functional.pad(picture, (0, 0, reach, reach), mode="replicate")
        picture = functional.conv2d(picture, weights.transpose(2, 3), groups=picture.shape[1])
    return picture


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """[N C h w] => [N C height width], averaged where it gets smaller."""
    return functional.interpolate(picture, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


def looked_up(picture: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``picture`` [1 C h w] evenly between pixels at every pair of ``y`` [H] and ``x`` [W] => [1 C H W].

    Measured in pixels from its upper left corner, a pixel's middle being at a half.
    """
    rows, columns = torch.meshgrid(2 * y / picture.shape[2] - 1, 2 * x / picture.shape[3] - 1, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)[None]
    return functional.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
