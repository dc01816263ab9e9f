"""Which place in a photograph each cell beyond its edges is copied from, at one size.

Patches that hang over the edge look for the most similar one inside, what they find is averaged, and that is repeated
(Wexler, Shechtman and Irani 2007). Small pictures are searched whole; in larger ones a patch tries what its neighbours
found (PatchMatch, Barnes et al. 2009). Neighbours that copy from one place side by side are preferred: they copy whole
leaves, not single pixels (shift-maps, Pritch et al. 2009). No dice are rolled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from .continuation import Sides, blur, resized

PATCH = 5
REACH = PATCH // 2
SEARCHED_WHOLE = 2500
"""Cells of a picture up to which every place is compared with every other."""
GUIDE, FAR, RARE = 0.5, 0.03, 0.4
"""What it costs to differ from the guide (of the square), to come from one longer side away, to be one of a kind."""
APART_SEARCHED, APART = 0.05, 0.02
"""What it costs that all neighbours copy from elsewhere, in small pictures and in larger ones."""
Cost = Callable[[Tensor | slice, Tensor], Tensor]
"""Patches and the rows of their sources => what that costs."""
NONE = torch.iinfo(torch.int64).min
BESIDE = ((1, 0), (-1, 0), (0, 1), (0, -1))
ACROSS = ((1, 1), (-1, -1), (1, -1), (-1, 1))


@dataclass(frozen=True)
class PatchGrid:
    """Cells of the known picture, and how many are around it. ``per_pixel`` (y, x) is less than 1 where cells are larger."""

    height: int
    width: int
    sides: Sides
    per_pixel: tuple[float, float]

    @classmethod
    def of(cls, height: int, width: int, sides: Sides, size: int) -> PatchGrid:
        """Of a picture's pixels, with as many cells as a square of ``size`` has. Patches stick out by their reach."""
        scale = size / math.sqrt(height * width)
        h, w = max(PATCH + 1, round(height * scale)), max(PATCH + 1, round(width * scale))
        y, x = h / height, w / width
        around = (math.ceil(pixels * step) + REACH for pixels, step in zip(sides, (x, y, x, y), strict=True))
        return cls(h, w, Sides(*around), (y, x))

    @property
    def size(self) -> tuple[int, int]:
        left, top, right, bottom = self.sides
        return self.height + top + bottom, self.width + left + right

    def pixels(self) -> tuple[Tensor, Tensor]:
        """y and x of the cells' middles, in pixels from the known picture's corner."""
        rows, columns = torch.arange(self.size[0]), torch.arange(self.size[1])
        return (rows - self.sides.top + 0.5) / self.per_pixel[0], (columns - self.sides.left + 0.5) / self.per_pixel[1]

    def cells(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``pixels``: in cells from the canvas's corner."""
        return y * self.per_pixel[0] + self.sides.top, x * self.per_pixel[1] + self.sides.left

    def known(self) -> tuple[slice, slice]:
        left, top = self.sides[:2]
        return slice(top, top + self.height), slice(left, left + self.width)


class Search:
    """Patches of one size. A shift is how far from a patch's middle its source's is, along the flattened canvas."""

    def __init__(self, grid: PatchGrid, known: Tensor, guide: Tensor, rarity: Tensor | None = None) -> None:
        """``known`` [1 5 h w]: colours and roughness. ``guide`` [1 5 h' w']: of the whole canvas. ``rarity`` [1 1 h w]."""
        self.grid, (rows, self._columns) = grid, grid.size
        self._known = known[0, :3]
        inner_y, inner_x = grid.known()
        sources, middles = torch.zeros(2, rows, self._columns, dtype=torch.bool)
        sources[inner_y.start + REACH : inner_y.stop - REACH, inner_x.start + REACH : inner_x.stop - REACH] = True
        middles[REACH:-REACH, REACH:-REACH] = True
        self._at = (middles & ~sources).flatten().nonzero()[:, 0]
        self._from = sources.flatten().nonzero()[:, 0]
        self._row = torch.full((rows * self._columns,), -1)
        self._row[self._from] = torch.arange(len(self._from))
        self._places = torch.stack([self._at // self._columns, self._at % self._columns]).float()
        self._sources = torch.stack([self._from // self._columns, self._from % self._columns]).float()

        steps = torch.arange(-REACH, REACH + 1)
        self._pixels = self._at[:, None] + (steps[:, None] * self._columns + steps).flatten()
        self._bell = torch.exp(-(steps**2 + steps[:, None] ** 2) / (2 * (PATCH / 3) ** 2)).flatten()
        self._sure = _sureness(grid)
        weights = self._sure[self._pixels]
        self._weights = (weights / weights.sum(dim=1, keepdim=True)).repeat(1, 3)

        self._patches = functional.unfold(known[:, :3], PATCH)[0].T.contiguous()
        self._hints = blur(known, PATCH / 4)[0, :, REACH:-REACH, REACH:-REACH].flatten(1).T.contiguous()
        self._hopes = blur(guide, PATCH / 4)[0].flatten(1).T[self._at]
        self.rarity = self._rarity() if rarity is None else resized(rarity, *known.shape[2:])
        self._far = FAR / max(grid.height, grid.width)
        self._rare = RARE * self.rarity[0, 0, REACH:-REACH, REACH:-REACH].flatten()
        self._small = grid.height * grid.width <= SEARCHED_WHOLE
        self._lasting = self._lasting_costs() if self._small else None

    def run(self, picture: Tensor, shifts: Tensor | None, rounds: int) -> tuple[Tensor, Tensor]:
        """Better ``rounds`` times: the canvas [3 h' w'], and where its patches come from [n] or None => both."""
        if shifts is not None:
            picture = self._averaged(shifts, self._patches_in(picture), picture)
        for _ in range(rounds):
            wanted = self._patches_in(picture)
            shifts = self._improved(shifts, wanted)
            picture = self._averaged(shifts, wanted, picture)
        assert shifts is not None, "the smallest size is searched"
        return picture, shifts

    def shift_map(self, shifts: Tensor) -> Tensor:
        """[n] => rows and columns to each cell's source [2 h' w']; the outermost cells have their neighbours'."""
        source = self._at + shifts
        columns = self._columns
        offsets = torch.stack([source // columns - self._at // columns, source % columns - self._at % columns])
        whole = torch.zeros(2, self.grid.size[0] * columns, dtype=torch.int64)
        whole[:, self._at] = offsets
        inner = whole.reshape(1, 2, *self.grid.size)[:, :, REACH:-REACH, REACH:-REACH].double()
        return functional.pad(inner, (REACH,) * 4, mode="replicate")[0].long()

    def inherited(self, smaller: PatchGrid, shift_map: Tensor) -> Tensor:
        """The shifts [n] that a ``smaller`` size's map says."""
        y, x = smaller.cells(*self.grid.pixels())
        rows = y.floor().long().clamp(0, smaller.size[0] - 1)[self._at // self._columns]
        columns = x.floor().long().clamp(0, smaller.size[1] - 1)[self._at % self._columns]
        down, right = (
            (offset * (here / there)).round().long()
            for offset, here, there in zip(
                shift_map[:, rows, columns], self.grid.per_pixel, smaller.per_pixel, strict=True
            )
        )
        inner_y, inner_x = self.grid.known()
        row = (self._at // self._columns + down).clamp(inner_y.start + REACH, inner_y.stop - REACH - 1)
        column = (self._at % self._columns + right).clamp(inner_x.start + REACH, inner_x.stop - REACH - 1)
        shifts: Tensor = row * self._columns + column - self._at
        return shifts

    def _patches_in(self, picture: Tensor) -> Tensor:
        return picture.flatten(1)[:, self._pixels].transpose(0, 1).flatten(1)

    def _improved(self, shifts: Tensor | None, wanted: Tensor) -> Tensor:
        table = None if self._lasting is None else self._all_differences(wanted).add_(self._lasting)

        def cost(which: Tensor | slice, row: Tensor) -> Tensor:
            return self._costs(which, row, wanted) if table is None else table[which].gather(1, row[:, None])[:, 0]

        nearest = None if table is None else self._from[table.argmin(dim=1)] - self._at
        if shifts is None:
            assert nearest is not None, "the smallest size is searched whole"
            shifts = nearest
        state = shifts.clone(), cost(slice(None), self._row[self._at + shifts])
        if nearest is not None:
            self._take_better(*state, nearest, cost)
        for y, x in BESIDE * (3 if self._small else 1):
            self._take_better(*state, self._map(state[0])[self._at + y * self._columns + x], cost)
        for y, x in () if self._small else BESIDE + ACROSS:
            self._take_better(*state, state[0] + y * self._columns + x, cost)
        return state[0]

    def _take_better(self, shifts: Tensor, costs: Tensor, other: Tensor, cost: Cost) -> None:
        """Change ``shifts`` and their ``costs`` in place wherever the ``other`` shift is better."""
        source = torch.where(other == NONE, 0, self._at + other)
        which = ((self._row[source] >= 0) & (other != NONE) & (other != shifts)).nonzero()[:, 0]
        old, new = shifts[which], other[which]
        everywhere = self._map(shifts)
        beside = torch.stack([everywhere[self._at[which] + y * self._columns + x] for y, x in BESIDE])
        apart = (APART_SEARCHED if self._small else APART) / len(BESIDE)
        more = apart * (((beside != new).long() - (beside != old).long()) * (beside != NONE)).sum(dim=0)
        new_costs = cost(which, self._row[self._at[which] + new])
        better = new_costs + more < costs[which]
        shifts[which[better]], costs[which[better]] = new[better], new_costs[better]

    def _map(self, shifts: Tensor) -> Tensor:
        whole = torch.full_like(self._row, NONE)
        whole[self._at] = shifts
        return whole

    def _costs(self, which: Tensor | slice, row: Tensor, wanted: Tensor) -> Tensor:
        """Of copying the patches ``which`` from the places ``row``."""
        far = (self._places[:, which] - self._sources[:, row]).square_().sum(dim=0).sqrt_()
        unlike = (self._hints[row] - self._hopes[which]).square_().sum(dim=1)
        return self._differences(which, row, wanted) + GUIDE * unlike + self._far * far + self._rare[row]

    def _differences(self, which: Tensor | slice, row: Tensor, wanted: Tensor) -> Tensor:
        return (self._patches[row] - wanted[which]).square_().mul_(self._weights[which]).sum(dim=1)

    def _all_differences(self, wanted: Tensor) -> Tensor:
        """From every place, less what is the same for all of them: of a^2 - 2ab + b^2 the first two."""
        squares = torch.cat([self._weights, wanted * self._weights * -2], dim=1)
        return squares @ torch.cat([self._patches.square(), self._patches], dim=1).T

    def _lasting_costs(self) -> Tensor:
        """Those of ``_costs`` that stay when the picture gets better, of every place."""
        unlike = torch.cdist(self._hopes, self._hints).square_()
        return unlike.mul_(GUIDE).add_(torch.cdist(self._places.T, self._sources.T), alpha=self._far).add_(self._rare)

    def _averaged(self, shifts: Tensor, wanted: Tensor, picture: Tensor) -> Tensor:
        """The canvas that patches overlap to, the more similar and the nearer to the edge, the more they count."""
        row = self._row[self._at + shifts]
        unlike = self._differences(slice(None), row, wanted)
        typical = unlike.quantile(0.75)
        votes = (torch.exp(-unlike / (2 * typical + 1e-6)) * self._sure[self._at])[:, None] * self._bell
        pixels, total = self._pixels.flatten(), torch.zeros(4, len(self._row))
        for colour, values in enumerate(self._patches[row].reshape(len(row), 3, -1).unbind(dim=1)):
            total[colour].index_add_(0, pixels, (values * votes).flatten())
        total[3].index_add_(0, pixels, votes.flatten())
        mean = total[:3] / total[3].clamp(min=1e-12)
        new = torch.where(total[3] > 1e-12, mean, picture.flatten(1)).reshape(3, *self.grid.size)
        new[:, *self.grid.known()] = self._known
        return new

    def _rarity(self) -> Tensor:
        """How unlike each place is to its three nearest likenesses that do not overlap it [1 1 h w]: eyes and letters."""
        patches = self._patches / PATCH
        squares = patches.square().sum(dim=1)
        unlike = squares[:, None] + squares - 2 * patches @ patches.T
        row, column = self._from // self._columns, self._from % self._columns
        overlaps = ((row[:, None] - row).abs() <= PATCH) & ((column[:, None] - column).abs() <= PATCH)
        unlike[overlaps] = unlike.amax()
        nearest = unlike.topk(min(3, len(unlike)), largest=False).values.mean(dim=1).clamp(min=0).sqrt()
        inner = nearest.reshape(1, 1, self.grid.height - 2 * REACH, -1)
        return functional.pad(inner, (REACH,) * 4, mode="replicate")


def _sureness(grid: PatchGrid) -> Tensor:
    """Of each cell of the canvas, flattened: 2 where it is known, and less with the distance from that."""
    left, top = grid.sides[:2]
    row, column = (torch.arange(count, dtype=torch.float32) for count in grid.size)
    down = torch.maximum(top - row, row - (top + grid.height - 1)).clamp(min=0)
    right = torch.maximum(left - column, column - (left + grid.width - 1)).clamp(min=0)
    distance = torch.hypot(down[:, None], right)
    return torch.where(distance == 0, 2, 1.15**-distance).flatten()
