"""Where the cells of a clip's frames look in its first one.

Pyramidal Lucas-Kanade (Bouguet 2001) with two priors in place of isolated windows: the clip's camera, an affine
motion, and neighbours that move alike (combined local-global, Bruhn et al. 2005, doi:10.1023/B:VISI.0000045324.43199.43).
Each frame is compared with the first one itself, so that errors do not add up along the clip.

Names: ``flow`` [2 h w] is a frame's displacement in pixels, x then y; ``hessian`` [3 h w] holds xx, xy and yy of the
mean squared gradients around each cell, ``rhs`` [2 h w] the mean gradient times what is left to explain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

COARSEST = 16
"""How many times smaller the first picture that is compared may be."""
ROUNDS = 3
"""Gauss-Newton steps at each size."""
MAX_STEP = 2.0
"""Pixels of the compared size that one step may go: as far as gradients tell."""
SOLVER_STEPS = 24
STIFFNESS = 0.08
"""Weight of differences between neighbours, as a share of the frame's mean squared gradient."""
OCCLUSION_STEP = 2.0
"""Pixels of the compared size by which cells differ that belong to two things, one in front of the other."""
DAMPING = 1e-4
"""The same for differences from the camera's motion: where nothing is known."""
OUTLIER = 0.1
"""A difference of grey values that is more likely something new than something moved."""
TRACKING_LEVELS = 3
"""At how many sizes a frame is compared that is expected to go on like the ones before."""
RESTART_AGREEMENT = 0.7
"""Agreement below which that expectation is dropped and the frame compared at all sizes."""
NO_AGREEMENT, FULL_AGREEMENT = 0.2, 0.4
"""Agreements at which a frame is taken to show nothing of the first, and to show the same things."""
CAMERA_DAMPING = 2e-3
"""Share of a frame's gradients that must agree on a camera motion before it is believed."""


class Fit(NamedTuple):
    """How one frame compares with the first, moved: see the module's names; ``agreement`` [h w] is 0..1."""

    hessian: Tensor
    rhs: Tensor
    agreement: Tensor


@torch.no_grad()
def displacements(frames: Tensor, patch_size: int) -> Tensor:
    """Consecutive frames [F 3 H W] in [-1, 1], the first being the still => [F 2 H/p W/p] float32, in pixels.

    For each cell of ``patch_size`` pixels where it looks in the first frame, less its own place (x, y): the content of
    a picture that moves right by 2 has -2 in x. The first is zero. Cells that have nothing to follow go with their
    neighbours and the camera; where a frame shows nothing of the first, nothing has moved.
    """
    pyramids = _pyramid(frames.float().mean(dim=1, keepdim=True), patch_size)
    cells = (frames.shape[-2] // patch_size, frames.shape[-1] // patch_size)
    rest = torch.zeros(2, *cells, device=frames.device)
    flows = [rest, rest]
    for index in range(1, len(frames)):
        levels = [(level[:1], level[index : index + 1]) for level in pyramids]
        flow, agreement = _register(levels[-TRACKING_LEVELS:], 2 * flows[-1] - flows[-2], patch_size)
        if index == 1 or agreement < RESTART_AGREEMENT:
            again = _register(levels, rest, patch_size)
            flow, agreement = max((flow, agreement), again, key=lambda one: one[1])
        flows.append(flow * min(max((agreement - NO_AGREEMENT) / (FULL_AGREEMENT - NO_AGREEMENT), 0.0), 1.0))
    return torch.stack(flows[1:])


def upsample(flow: Tensor, factor: int) -> Tensor:
    """[F 2 h w] => [F 2 h*factor w*factor]: evenly between the cells' centres and on beyond the outermost ones."""
    for axis in (-2, -1):
        first, last = flow.narrow(axis, 0, 1), flow.narrow(axis, -1, 1)
        if flow.shape[axis] > 1:
            first = 2 * first - flow.narrow(axis, 1, 1)
            last = 2 * last - flow.narrow(axis, -2, 1)
        flow = torch.cat([first, flow, last], dim=axis)
    larger = functional.interpolate(flow, scale_factor=factor, mode="bilinear", align_corners=False)
    return larger[..., factor:-factor, factor:-factor]


def _pyramid(grey: Tensor, patch_size: int) -> list[Tensor]:
    """[F 1 H W] => the same ever smaller by halves, the smallest first: down to a pixel a cell."""
    levels, kernel = [grey], torch.tensor([1.0, 3.0, 3.0, 1.0], device=grey.device) / 8
    while 2 ** len(levels) <= min(COARSEST, patch_size):
        padded = functional.pad(levels[-1], (1, 1, 1, 1), mode="replicate")
        rows = functional.conv2d(padded, kernel.view(1, 1, 4, 1), stride=(2, 1))
        levels.append(functional.conv2d(rows, kernel.view(1, 1, 1, 4), stride=(1, 2)))
    return levels[::-1]


def _register(levels: list[tuple[Tensor, Tensor]], flow: Tensor, patch_size: int) -> tuple[Tensor, float]:
    """Pairs of (first, frame) [1 1 H W], the smallest first, and a guess => displacements [2 h w] and their agreement.

    The agreement, 1 at best, is that of all cells, those with more to see counting for more.
    """
    for first, frame in levels:
        cell = frame.shape[-1] // flow.shape[-1]
        scale = patch_size / cell
        for _ in range(ROUNDS):
            fit = _compare(first, frame, flow, cell, scale)
            step = _solve(fit.hessian, fit.rhs, flow, fit.hessian, scale) - flow
            flow = flow + step.clamp(-MAX_STEP * scale, MAX_STEP * scale)
    fit = _compare(first, frame, flow, cell, scale)
    detail = fit.hessian[0] + fit.hessian[2] + 1e-12
    flow = _solve(fit.hessian * fit.agreement, torch.zeros_like(flow), flow, fit.hessian, scale)
    return flow, float((fit.agreement * detail).sum() / detail.sum())


def _compare(first: Tensor, frame: Tensor, flow: Tensor, cell: int, scale: float) -> Fit:
    """``frame`` against ``first``, moved, in windows half as wide again as a cell of ``cell`` pixels.

    A pixel of these pictures is ``scale`` pixels of the clip, in which ``flow`` and the gradients are measured.
    """
    height, width = frame.shape[-2:]
    x, y = upsample(flow[None], cell)[0] / scale
    x = (torch.arange(width, device=x.device) + 0.5 + x) * (2 / width) - 1
    y = (torch.arange(height, device=y.device) + 0.5)[:, None].add(y) * (2 / height) - 1
    grid = torch.stack([x, y], dim=-1)[None]
    warped = functional.grid_sample(first, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = ((x.abs() <= 1) & (y.abs() <= 1)).float()
    gx, gy = _gradients((warped + frame)[0, 0] / (2 * scale))
    residual = (frame - warped)[0, 0]
    weight = inside / (1 + (residual / OUTLIER).square())
    products = torch.stack([gx * gx, gx * gy, gy * gy, gx * residual, gy * residual]) * weight
    means = _windows(
        torch.cat([products, torch.stack([residual.square(), frame[0, 0], frame[0, 0].square()]) * inside]), cell
    )
    share = _windows(inside[None], cell)[0].clamp(min=1e-6)
    error, mean, power = means[5:] / share
    agreement = (1 - error / (power - mean.square()).clamp(min=1e-6)).clamp(0, 1)
    return Fit(means[:3], means[3:5], agreement)


def _gradients(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of [H W] along x and y, the edges repeated."""
    padded = functional.pad(picture[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2


def _windows(values: Tensor, cell: int) -> Tensor:
    """[N H W] => its means around each cell [N h w]."""
    margin = max(cell // 4, 1)
    return functional.avg_pool2d(values[None], cell + 2 * margin, cell, margin, count_include_pad=False)[0]


def _solve(hessian: Tensor, rhs: Tensor, flow: Tensor, whole: Tensor, scale: float) -> Tensor:
    """The displacements that ``rhs`` asks for, beginning at ``flow``, with the priors.

    Cells that have come apart by more than the priors know pull less on each other, at ``scale`` pixels a pixel.

    ``whole`` is the Hessian before anything was left out of it: what the camera must explain a share of.
    """
    target = rhs + _times(hessian, flow)
    camera = _camera(hessian, target, whole)
    steepness = float(whole[0].mean() + whole[2].mean()) / 2 + 1e-9
    start = flow - camera
    across, down = (
        (1 + (start.diff(dim=axis) / (OCCLUSION_STEP * scale)).square().sum(dim=0)).rsqrt() for axis in (2, 1)
    )
    rest = _relax(hessian, target - _times(hessian, camera), start, (across, down), steepness)
    return camera + rest


def _camera(hessian: Tensor, target: Tensor, whole: Tensor) -> Tensor:
    """The affine motion [2 h w] that best does what ``target`` asks of all cells."""
    height, width = hessian.shape[-2:]
    x = torch.linspace(-1, 1, width, device=hessian.device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=hessian.device)[:, None].expand(height, width)
    basis = torch.stack([torch.ones_like(x), x, y]).flatten(1)
    xx, xy, yy = ((basis * part.flatten()) @ basis.T for part in hessian)
    matrix = torch.cat([torch.cat([xx, xy], dim=1), torch.cat([xy, yy], dim=1)])
    damping = CAMERA_DAMPING * float(whole[0].sum() + whole[2].sum()) + 1e-9
    right = (target.flatten(1) @ basis.T).flatten()
    values = torch.linalg.solve(matrix + damping * torch.eye(6, device=matrix.device), right)
    displaced: Tensor = (values.view(2, 3) @ basis).view(2, height, width)
    return displaced


def _relax(hessian: Tensor, right: Tensor, start: Tensor, links: tuple[Tensor, Tensor], steepness: float) -> Tensor:
    """(hessian + stiffness * tension + damping) x = right, from ``start``, with links [h w-1] and [h-1 w] between cells.

    ``steepness`` brings stiffness and damping to the scale of this frame's Hessian.
    """
    stiffness, damping = STIFFNESS * steepness, DAMPING * steepness
    inverse = _inverse(hessian, 4 * stiffness + damping)

    def system(x: Tensor) -> Tensor:
        tension = _tension(x, links[0], 2) + _tension(x, links[1], 1)
        return _times(hessian, x) + stiffness * tension + damping * x

    return _conjugate_gradients(system, lambda x: _times(inverse, x), right, start)


def _tension(x: Tensor, links: Tensor, axis: int) -> Tensor:
    """[2 h w]: each cell less its neighbours along ``axis``, weighted by the ``links`` between them."""
    nothing = torch.zeros_like(x.narrow(axis, 0, 1))
    flow = torch.cat([nothing, links * x.diff(dim=axis), nothing], dim=axis)
    return -flow.diff(dim=axis)


def _conjugate_gradients(
    system: Callable[[Tensor], Tensor], precondition: Callable[[Tensor], Tensor], right: Tensor, start: Tensor
) -> Tensor:
    """``SOLVER_STEPS`` steps towards system(x) = right (Hestenes & Stiefel 1952)."""
    x, residual = start, right - system(start)
    prepared = precondition(residual)
    direction, power = prepared, (residual * prepared).sum()
    for _ in range(SOLVER_STEPS):
        image = system(direction)
        step = power / (direction * image).sum().clamp(min=1e-30)
        x, residual = x + step * direction, residual - step * image
        prepared = precondition(residual)
        before, power = power, (residual * prepared).sum()
        direction = prepared + power / before.clamp(min=1e-30) * direction
    return x


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Symmetric 2x2 matrices [3 h w] times vectors [2 h w]."""
    (xx, xy, yy), (x, y) = matrices, vectors
    return torch.stack([xx * x + xy * y, xy * x + yy * y])


def _inverse(matrices: Tensor, more: float) -> Tensor:
    """Of symmetric 2x2 matrices [3 h w] with ``more`` added to their diagonals."""
    xx, xy, yy = matrices[0] + more, matrices[1], matrices[2] + more
    return torch.stack([yy, -xy, xx]) / (xx * yy - xy * xy)
