"""What of a clip is not the still's own, by the decoder's own look-up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .checkpoint import Clip, Nano, Photo

POINTS = 128
"""Along the longer side of a frame, at which it is asked."""


@dataclass(frozen=True)
class Edges:
    """Shares of a clip's pixels: outside the still; outside the photograph as well, which is paint; beyond the paint."""

    still: float
    photograph: float
    canvas: float


def edges(nano: Nano, photo: Photo, clip: Clip) -> Edges:
    height, width = photo.still.shape[:2]
    scale = POINTS / max(height, width)
    shown = clip.shown
    places = shown.places(round(height * scale), round(width * scale))
    canvas = nano.renderer(photo, clip.spec).canvas(shown)
    span = min(photo.shape[0] / height, photo.shape[1] / width)
    there = (photo.shape[0] / span, photo.shape[1] / span)
    return Edges(
        still=beyond(places, (height, width), max(height, width)),
        photograph=beyond(places, there, max(height, width)),
        canvas=canvas.outside(places) / places[:, 0].numel(),
    )


def beyond(places: Tensor, size: tuple[float, float], longer: float) -> float:
    """Share of ``places`` [F 2 h w] outside a picture of ``size`` (height, width) about the middle.

    Places are in halves of ``longer``, which ``size`` is counted by.
    """
    reach = torch.tensor([size[1], size[0]])[:, None, None] / longer
    return float((places.abs() > reach + 1e-4).any(dim=1).float().mean())
