"""What happens in front of a still: a camera's path, how near things are, and what stirs by itself.

The camera is four numbers a frame for the whole picture, so what is rigid stays rigid; depth adds parallax, layer by
layer; only what stirs bends. Because this is a field and no picture, it can be looked up at any size and at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

PARALLAX = 0.8
"""How much faster than the picture's middle depth what is one whole depth nearer moves, as a share."""
ARC = 2.5
"""The same for an arc around the middle depth, which shows nothing but parallax."""
LAYER_REACH, LAYER_CELLS, LAYER_DEPTH, LAYER_ROUNDS = 4, 2.0, 0.15, 3
"""Cells around a cell that its layer is looked for in, how near they count, how alike, and how often."""
RELIEF_CELLS = 128
"""Depth and drift are looked up on so many points along the longer side, and evenly between: they are smooth."""


@dataclass(frozen=True)
class Scene:
    """Places and lengths are in halves of the frame's longer side, measured from its middle.

    pose      [F 5]      by each frame: pan x and y (where the camera looks), log zoom, roll in radians, arc
    nearness  [h w]      of mean 0: what is one more is a whole depth nearer
    drift     [F 2 h w]  how far what stirs has come, x and y; 0 where nothing does
    dolly     [F]        log of how much larger what is half a depth near has become; what is half a depth far stays
    """

    pose: Tensor
    nearness: Tensor
    drift: Tensor
    dolly: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pose)

    def at(self, times: Tensor) -> Scene:
        """The frames at ``times`` [N], counted in frames of this scene, between its first and last."""
        dolly = None if self.dolly is None else between(self.dolly, times)
        return replace(self, pose=between(self.pose, times), drift=between(self.drift, times), dolly=dolly)

    def places(self, height: int, width: int) -> Tensor:
        """Where the pixels of each frame look in the still: ``[F 2 height width]``, x then y."""
        rigid = self._rigid(grid(height, width, self.pose))
        return rigid + upsampled(self._bent(height, width), height, width)

    def displacement(self) -> Tensor:
        """Where each cell looks, less its own place: ``[F 2 h w]``."""
        height, width = self.nearness.shape
        here = grid(height, width, self.pose)
        rigid = self._rigid(here)
        return rigid + self._rest(here, rigid) - here

    def _rigid(self, points: Tensor) -> Tensor:
        """Points ``[2 H W]`` as the camera of each frame sees them, all equally far: ``[F 2 H W]``."""
        pan, zoom, roll = self.pose[:, :2], self.pose[:, 2], self.pose[:, 3]
        scale = (-zoom).exp()
        cos, sin = (scale * roll.cos())[:, None, None], (scale * roll.sin())[:, None, None]
        turned = torch.stack([cos * points[0] - sin * points[1], sin * points[0] + cos * points[1]], dim=1)
        return turned + pan[:, :, None, None]

    def _bent(self, height: int, width: int) -> Tensor:
        """What depth and drift add, on a grid that is fine enough for them: ``[F 2 y x]``."""
        scale = min(1.0, RELIEF_CELLS / max(height, width))
        here = grid(max(2, round(height * scale)), max(2, round(width * scale)), self.pose)
        return self._rest(here, self._rigid(here))

    def _rest(self, here: Tensor, rigid: Tensor) -> Tensor:
        """Parallax and drift at points that would look at ``rigid``: ``[F 2 H W]``."""
        near = looked_up(self.nearness.expand(len(self), 1, -1, -1), rigid)
        arc = functional.pad(self.pose[:, 4:5], (0, 1))[:, :, None, None]
        parallax = PARALLAX * near * (rigid - here) + ARC * near * arc
        if self.dolly is not None:
            parallax = parallax + (near + 0.5) * ((-self.dolly).exp() - 1)[:, None, None, None] * here
        return parallax + looked_up(self.drift, rigid)


def flat(frames: int, device: torch.device | str = "cpu") -> Scene:
    """A scene in which nothing happens, and nothing is nearer than anything else."""
    return Scene(torch.zeros(frames, 5, device=device), torch.zeros(2, 2, device=device), torch.zeros(frames, 2, 2, 2, device=device))


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Centres of as many equal parts of a frame: ``[2 height width]``, x then y."""
    half = max(height, width) / 2
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5 - width / 2) / half
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5 - height / 2) / half
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def between(values: Tensor, times: Tensor) -> Tensor:
    """``values`` [F ...] at ``times`` [N] by Catmull-Rom's cubic through its neighbours; at both ends it bends on evenly."""
    if len(values) == 1:
        return values.expand(len(times), *values.shape[1:])
    padded = torch.cat([_before(values), values, _before(values.flip(0))])
    times = times.to(values)
    first = times.floor().clamp(0, len(values) - 2).long()
    t = (times - first).reshape(-1, *[1] * (values.dim() - 1))
    a, b, c, d = (padded[first + offset] for offset in range(4))
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _before(values: Tensor) -> Tensor:
    """What would come before the first of ``values``: straight on, were two all; else in the curve of the first three."""
    if len(values) == 2:
        return 2 * values[:1] - values[1:2]
    return 3 * values[:1] - 3 * values[1:2] + values[2:3]


def in_layers(nearness: Tensor) -> Tensor:
    """``nearness`` [h w] with what differs little from its neighbours made alike, so that what is rigid moves as one.

    Mean shift over cells (Comaniciu and Meer 2002, doi:10.1109/34.1000236): each goes to the mean of those around it,
    weighed by how near they are in the picture and in depth; steps between things stay.
    """
    height, width = nearness.shape
    reach = torch.arange(-LAYER_REACH, LAYER_REACH + 1, device=nearness.device, dtype=torch.float32)
    close = torch.exp(-(reach[:, None].square() + reach.square()) / (2 * LAYER_CELLS**2)).flatten()[:, None]
    for _ in range(LAYER_ROUNDS):
        padded = functional.pad(nearness[None, None], (LAYER_REACH,) * 4, mode="replicate")
        around = functional.unfold(padded, len(reach))[0]
        weight = close * torch.exp(-(around - nearness.flatten()).square() / (2 * LAYER_DEPTH**2))
        nearness = ((around * weight).sum(dim=0) / weight.sum(dim=0)).view(height, width)
    return nearness


def looked_up(maps: Tensor, places: Tensor) -> Tensor:
    """``maps`` [F C h w] over the frame, at ``places`` [F 2 H W]: [F C H W]. Even between cells, held beyond the edges."""
    h, w = maps.shape[-2:]
    half = max(h, w) / 2
    unit = torch.tensor([2 * half / w, 2 * half / h], device=places.device)
    return bicubic(maps, places.permute(0, 2, 3, 1) * unit)


def bicubic(maps: Tensor, where: Tensor) -> Tensor:
    """``maps`` [N C h w] at ``where`` [N H W 2], x and y in -1 to 1: [N C H W]. Beyond the edges they are held."""
    if maps.device.type == "mps":  # not every version's grid_sample knows bicubic look-ups
        return bicubic(maps.cpu(), where.cpu()).to(maps.device)
    return functional.grid_sample(maps, where, mode="bicubic", padding_mode="border", align_corners=False)


def upsampled(field: Tensor, height: int, width: int) -> Tensor:
    """[F 2 y x] => [F 2 height width]"""
    if field.shape[-2:] == (height, width):
        return field
    return functional.interpolate(field, (height, width), mode="bicubic", align_corners=False)
