"""Paint beyond a photograph's edges, out of the photograph.

Where each place out there is copied from is searched in small pictures, from coarse to fine (``patch_search.py``), led by
a blurred guess of what goes on (``continuation.py``). The full picture is then copied by that map, and its colours are
brought together where the copies meet.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .continuation import Sides, continued, looked_up, resized, roughness, spread
from .patch_search import PatchGrid, Search

SIZES = {24: 4, 48: 2, 96: 2, 192: 1}
"""Side of a square with as many cells => rounds of searching and averaging."""
WORKING_SIZE = 384
"""Longer side, in pixels, of the picture that the search looks at."""
ROUGHNESS = 1.5
"""What roughness counts beside colours."""
PULL = 0.01
"""On copies while neighbours pull them together: towards the guess where it is near, so that a sky grows no frame, and
towards their own colours else."""
NEAR = 0.3
"""In colours from -1 to 1."""
ROUNDS = 40
"""Of conjugate gradients, at most: what is left then is joined at the edge."""
JOINED = 4
"""Cells outwards from the edge over which what is left of a step there fades."""


def outpaint(known: NDArray[np.uint8], sides: Sides) -> NDArray[np.uint8]:
    """``known`` [H W 3] with ``sides`` painted on; itself to the bit within them."""
    height, width = known.shape[:2]
    whole = np.empty((height + sides.top + sides.bottom, width + sides.left + sides.right, 3), np.uint8)
    whole[sides.top : sides.top + height, sides.left : sides.left + width] = known
    if any(sides):
        pixels = torch.tensor(known)
        _paint(torch.from_numpy(whole), pixels, sides, *_searched(pixels, sides))
    return whole


def _searched(known: Tensor, sides: Sides) -> tuple[PatchGrid, Tensor, Tensor]:
    """``known`` uint8 [H W 3] => the finest grid, its shift map [2 h w] and the colours to add to copies [1 3 h w]."""
    height, width = known.shape[:2]
    looked_at = _working(known)
    grid: PatchGrid | None = None
    picture = guide = shift_map = rarity = torch.empty(0)
    for size, rounds in SIZES.items():
        if grid and size * size > height * width:
            break
        coarser, grid = grid, PatchGrid.of(height, width, sides, size)
        cells = resized(looked_at, grid.height, grid.width)
        if coarser is None:
            first = grid
            guide = continued(cells, grid.sides)
            search = Search(grid, cells, guide)
            picture, shifts = search.run(guide[0, :3], None, rounds)
            rarity = search.rarity
        else:
            led = looked_up(guide, *first.cells(*grid.pixels()))
            search = Search(grid, cells, led, rarity)
            picture = looked_up(picture[None], *coarser.cells(*grid.pixels()))[0]
            picture[:, *grid.known()] = cells[0, :3]
            picture, shifts = search.run(picture, search.inherited(coarser, shift_map), rounds)
        shift_map = search.shift_map(shifts)
    assert grid is not None
    return grid, shift_map, _evening(cells[0, :3], continued(cells[:, :3], grid.sides)[0], grid, shift_map)[None]


def _working(known: Tensor) -> Tensor:
    """uint8 [H W 3] => what is looked at [1 5 h w]: colours in [-1, 1], and roughness across and down."""
    picture = known.permute(2, 0, 1)[None].float() / 127.5 - 1
    height, width = known.shape[:2]
    scale = WORKING_SIZE / max(height, width)
    if scale < 1:
        picture = resized(picture, max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.cat([picture, ROUGHNESS * roughness(picture)], dim=1)


def _evening(known: Tensor, guide: Tensor, grid: PatchGrid, shift_map: Tensor) -> Tensor:
    """What to add to the copies of ``known`` [3 h w] so that they meet without a step, [3 h' w'] as ``guide``.

    Poisson image editing (Perez et al. 2003): between neighbours that come from different places the step shall be the mean
    of the steps that both places know. A little pull keeps a colour from running far.
    """
    left, top = grid.sides[:2]
    free = torch.ones(grid.size, dtype=torch.bool)
    free[grid.known()] = False
    down, right = shift_map * free
    row = torch.arange(grid.size[0])[:, None] + down - top
    column = torch.arange(grid.size[1]) + right - left

    def copied(y: int, x: int) -> Tensor:
        return known[:, (row + y).clamp(0, grid.height - 1), (column + x).clamp(0, grid.width - 1)]

    here = copied(0, 0)

    def missing(axis: int, ahead: Tensor, behind: Tensor) -> Tensor:
        """The steps that should be along ``axis``, less those that are."""
        count = grid.size[axis - 1] - 1
        one, other = ahead.narrow(axis, 0, count), behind.narrow(axis, 1, count)
        first, second = (free.narrow(axis - 1, start, count).float() for start in (0, 1))
        share = (first + (1 - second)) / 2  # the copy's own step, where its neighbour is the photograph itself
        return share * one + (1 - share) * other - here.diff(dim=axis)

    wanted = _divergence(
        missing(1, copied(1, 0) - here, here - copied(-1, 0)), missing(2, copied(0, 1) - here, here - copied(0, -1))
    )
    off = guide - here
    nearly = torch.exp(-(off / NEAR).square().amax(dim=0))
    return _solved((wanted + PULL * nearly * off) * free, free)


def _solved(wanted: Tensor, free: Tensor) -> Tensor:
    """x [3 h w], 0 outside ``free``, whose Laplacian is ``wanted``, by conjugate gradients."""
    x, rest = torch.zeros_like(wanted), wanted
    direction, size = rest, rest.square().sum(dim=(1, 2), keepdim=True)
    enough = 1e-4 * size
    for _ in range(ROUNDS):
        if (size <= enough).all():
            break
        applied = free * (_divergence(direction.diff(dim=1), direction.diff(dim=2)) + PULL * direction)
        step = size / ((direction * applied).sum(dim=(1, 2), keepdim=True) + 1e-20)
        x, rest = x + step * direction, rest - step * applied
        before, size = size, rest.square().sum(dim=(1, 2), keepdim=True)
        direction = rest + size / (before + 1e-20) * direction
    return x


def _divergence(down: Tensor, right: Tensor) -> Tensor:
    """Of steps to the next row [C h-1 w] and column [C h w-1], turned round: positive where they rise to => [C h w]."""
    pad = torch.nn.functional.pad
    return pad(down, (0, 0, 1, 0)) - pad(down, (0, 0, 0, 1)) + pad(right, (1, 0)) - pad(right, (0, 1))


def _paint(whole: Tensor, known: Tensor, sides: Sides, grid: PatchGrid, shift_map: Tensor, evening: Tensor) -> None:
    """Fill the sides of ``whole`` uint8 [H' W' 3] from ``known`` [H W 3].

    A strip begins with the edge's own line, which tells how far the copies are from it.
    """
    height, width = known.shape[:2]
    left, top, right, bottom = sides
    inner, outer = torch.arange(height), torch.arange(-left, width + right)
    for columns in torch.arange(0, -left - 1, -1), torch.arange(width - 1, width + right):
        if len(columns) > 1:
            strip = _copied(known, inner, columns, grid, shift_map)
            strip += _evening_at(evening, grid, inner, _outside(columns, width, grid, 1))
            _join(strip.transpose(0, 1), known[:, columns[0]], 0, grid.per_pixel[1])
            whole[top : top + height, left + columns[1:]] = _bytes(strip[:, 1:])
    for rows in torch.arange(0, -top - 1, -1), torch.arange(height - 1, height + bottom):
        if len(rows) > 1:
            strip = _copied(known, rows, outer, grid, shift_map)
            strip += _evening_at(evening, grid, _outside(rows, height, grid, 0), outer)
            _join(strip, known[rows[0]], left, grid.per_pixel[0])
            whole[top + rows[1:]] = _bytes(strip[1:])


def _outside(pixels: Tensor, count: int, grid: PatchGrid, axis: int) -> Tensor:
    """``pixels`` that go outwards from the first or the last of ``count``, none nearer to it than the first cell's middle."""
    half = 0.5 / grid.per_pixel[axis]
    return pixels.clamp(max=-half - 0.5) if pixels[-1] < 0 else pixels.clamp(min=count + half - 0.5)


def _join(strip: Tensor, edge: Tensor, start: int, per_pixel: float) -> None:
    """Bring the first line of ``strip`` [n L 3] to ``edge`` [h 3], ``start`` along it, and what follows less and less."""
    reach = min(len(strip), 1 + round(JOINED / per_pixel))
    missing = (edge - strip[0, start : start + len(edge)]).T
    depth = torch.arange(reach, dtype=torch.float32).expand(strip.shape[1], reach)
    along = (torch.arange(strip.shape[1], dtype=torch.float32) - start)[:, None].expand_as(depth)
    beside = torch.maximum(-along, along - (len(edge) - 1)).clamp(min=0)
    share = (1 - torch.hypot(depth, beside) / reach).clamp(min=0).square()
    strip[:reach] += (spread(missing, along, depth) * share).permute(2, 1, 0)


def _bytes(strip: Tensor) -> Tensor:
    return strip.clamp(0, 255).round_().byte()


def _copied(known: Tensor, rows: Tensor, columns: Tensor, grid: PatchGrid, shift_map: Tensor) -> Tensor:
    """Copies by the four nearest cells' shifts, blended evenly: [h w 3] of pixel ``rows`` and ``columns``."""
    height, width = known.shape[:2]
    flat = known.reshape(-1, 3)
    y, x = (at - 0.5 for at in grid.cells(rows + 0.5, columns + 0.5))
    upper, before = y.floor().long(), x.floor().long()
    strip = torch.zeros(len(rows), len(columns), 3)
    pixels = (shift_map / torch.tensor(grid.per_pixel)[:, None, None]).round().long()
    for down in (0, 1):
        for right in (0, 1):
            row, column = (upper + down).clamp(0, grid.size[0] - 1), (before + right).clamp(0, grid.size[1] - 1)
            shift = pixels[:, row][:, :, column]
            source_y = (rows[:, None] + shift[0]).clamp_(0, height - 1)
            source_x = (columns + shift[1]).clamp_(0, width - 1)
            share_y, share_x = 1 - (y - upper - down).abs(), 1 - (x - before - right).abs()
            strip += flat[source_y * width + source_x] * (share_y[:, None] * share_x)[..., None]
    return strip


def _evening_at(evening: Tensor, grid: PatchGrid, rows: Tensor, columns: Tensor) -> Tensor:
    """In the unit of bytes, [h w 3]."""
    y, x = grid.cells(rows + 0.5, columns + 0.5)
    return looked_up(evening * 127.5, y, x)[0].permute(1, 2, 0)
