"""The camera moves a checkpoint knows, and the exact estimate of one under noise: which it is, the seed decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...catalog import CheckpointRow


def moves(row: CheckpointRow, frames: int) -> Tensor:
    """The steps of every move of ``row`` in a clip of ``frames``, kind by kind, ``[K F 5]``, in units of the asked motion."""
    known = torch.tensor([move for _, kind in row.moves for move in kind])
    return pace(frames, known[:, 5])[..., None] * known[:, None, :5]


def chosen(row: CheckpointRow, frames: int, noise: Tensor, seeds: Sequence[int]) -> Tensor:
    """``noise`` [B F 5] turned towards a move of the kind that each of ``seeds`` is for; which of that kind, it decides.

    Consecutive seeds are for different kinds, so that a few of them show what there is; noise alone may miss some.
    The length stays, and with it the size of the noise.
    """
    first, places = 0, []
    for _, kind in row.moves:
        places.append(slice(first, first + len(kind)))
        first += len(kind)
    known, turned = moves(row, frames), []
    for one, seed in zip(noise.cpu(), seeds, strict=True):
        group = known[places[seed % len(places)]]
        best = group[torch.einsum("fc,kfc->k", one, group).argmax()]
        turned.append(best * (one.norm() / best.norm()))
    return torch.stack(turned).to(noise)


def pace(frames: int, softness: Tensor) -> Tensor:
    """How fast each of K moves is at each frame, ``[K F]``: 0 at the first, of mean 1 over the others.

    ``softness`` [K] 0 is an even speed, 1 starts and ends at rest.
    """
    turns = 2 * math.pi * (torch.arange(1, frames) - 0.5) / max(frames - 1, 1)
    going = 1 - softness[:, None] * turns.cos()
    return torch.cat([torch.zeros(len(softness), 1), going / going.mean(dim=1, keepdim=True)], dim=1)


def nearest(known: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Mean of the moves ``known`` [K F 5] given ``x`` [B F 5], one of them in noise of size ``sigma`` [] or [B].

    Exact for moves that are equally likely: weights are exp(-|x - move|^2 / 2 sigma^2) (Karras et al. 2022, arXiv
    2206.00364, eq. 57).
    """
    apart = (x[:, None] - known).square().sum(dim=(-2, -1))
    level = sigma.to(x).reshape(-1, 1).clamp_min(1e-3)
    shares = (-apart / (2 * level.square())).softmax(dim=1)
    return torch.einsum("bk,kfc->bfc", shares, known)
