"""Exact mode: Stable Video Diffusion's own layers, computed with less work, traffic and memory.

Nothing here changes a result beyond rounding. Within ``exact`` small modules of the U-Net and the autoencoder are of
our classes, which subclass diffusers' and hold no weights; afterwards they are what they were. Outside the block, with
gradients, and for shapes that SVD does not have, diffusers' own code runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from .constants import CrossConstants, unused_in_steps

__all__ = ["CrossConstants", "exact", "unused_in_steps"]


@contextmanager
def exact(unet: Any, vae: Any, *, conv2d: bool = False) -> Iterator[None]:
    """The modules of ``unet`` and ``vae`` in our classes within the block; afterwards nothing of it is left.

    Enter before hooks or placement take hold of their ``forward``. ``conv2d`` runs convolutions over time as
    two-dimensional ones, the same sums; which is faster depends on the device.
    """
    from .swapping import swap, swap_back

    modules: list[nn.Module] = [*unet.modules(), *vae.modules()]
    swapped = swap(modules, conv2d)
    try:
        yield
    finally:
        swap_back(swapped)
