"""Photograph + scene => the clip a camera would have taken, without aliasing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from svd_ui.core.families.scene import Scene as Seen

from .photos import Picture
from .scenes import Window

OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """A frame laid on a photograph: ``span`` of its pixels per frame pixel, ``centre`` (x, y) in its pixels."""

    photo: Picture
    span: float
    centre: tuple[float, float]

    def window(self, size: tuple[int, int]) -> Window:
        """What a frame of ``size`` (height, width) shows."""
        height, width = self.photo.shape[:2]
        (x, y), (h, w) = self.centre, (side * self.span / 2 for side in size)
        return Window((x - w) / width, (y - h) / height, (x + w) / width, (y + h) / height)


def choose_view(photo: Picture, size: tuple[int, int], rng: Generator, low: float = 0.4) -> View:
    """A random place and scale; the frame covers ``low`` .. 1 of what the photograph can hold."""
    height, width = size
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    return view_at(photo, size, largest * rng.uniform(low, 1.0), (rng.random(), rng.random()))


def view_at(photo: Picture, size: tuple[int, int], span: float, place: tuple[float, float]) -> View:
    """``place`` 0..1: left/top to right/bottom of the leeway."""
    room = [side - span * length for side, length in zip(photo.shape[:2], size, strict=True)]
    y, x = (span * n / 2 + max(r, 0) * p for n, r, p in zip(size, room, reversed(place), strict=True))
    return View(photo, span, (x, y))


def still(view: View, size: tuple[int, int]) -> Picture:
    """The frame [H W 3] before anything moves."""
    height, width = size
    left, top = (round(c - side * view.span / 2) for c, side in zip(view.centre, (width, height), strict=True))
    right, bottom = left + round(width * view.span), top + round(height * view.span)
    cut = view.photo[max(top, 0) : bottom, max(left, 0) : right]
    method = cv2.INTER_AREA if view.span > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (width, height), interpolation=method), np.uint8)


def render(view: View, seen: Seen, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What ``seen`` makes of ``view``, [F H W 3]. Frames are warped at twice their size and averaged down: no flicker.

    What comes into view is the photograph's own, mirrored where it ends.
    """
    height, width = (side * OVERSAMPLING for side in size)
    scale = OVERSAMPLING / view.span
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(view.photo, None, fx=scale, fy=scale, interpolation=method)
    offset = np.array(view.centre, np.float32) * scale - 0.5
    clip = np.empty((len(seen), *size, 3), np.uint8)
    for index in range(len(seen)):
        places = seen.at(torch.tensor([index])).places(height, width)[0].permute(1, 2, 0).numpy()
        looked = (places * (max(height, width) / 2) + offset).astype(np.float32)
        nothing = np.empty(0, np.float32)
        warped = cv2.remap(picture, looked, nothing, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        clip[index] = cv2.resize(warped, size[::-1], interpolation=cv2.INTER_AREA)
    return clip
