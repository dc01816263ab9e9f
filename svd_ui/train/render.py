"""Photograph + motion => a clip of frames, without aliasing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .motion import BASE_FPS, Grid, Motion, pixel_grid
from .photos import Picture

OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """A frame laid on a photograph: ``picture`` is scaled so that the frame spans 2x its pixels."""

    picture: Picture
    centre: tuple[float, float]


def choose_view(photo: Picture, size: tuple[int, int], rng: Generator, low: float = 0.35) -> View:
    """A random place and scale; the frame covers ``low`` .. 1 of what the photograph can hold."""
    height, width = size
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    span = largest * rng.uniform(low, 1.0)
    return view_at(photo, size, span, (rng.random(), rng.random()))


def view_at(photo: Picture, size: tuple[int, int], span: float, place: tuple[float, float]) -> View:
    """``span``: photo pixels per frame pixel. ``place`` 0..1: left/top to right/bottom of the leeway."""
    scale = OVERSAMPLING / span
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method).astype(np.uint8)
    room = [side - OVERSAMPLING * length for side, length in zip(picture.shape[:2], size, strict=True)]
    y, x = (OVERSAMPLING * n / 2 + max(r, 0) * p for n, r, p in zip(size, room, reversed(place), strict=True))
    return View(picture, (x, y))


def render(view: View, motion: Motion, size: tuple[int, int], frames: int, fps: float) -> NDArray[np.uint8]:
    """[F H W 3]. Frames are warped at twice their size and averaged down, so detail cannot flicker."""
    height, width = size
    points = (pixel_grid(OVERSAMPLING * height, OVERSAMPLING * width) / OVERSAMPLING).astype(np.float32)
    offset = np.array(view.centre, np.float32) - 0.5
    clip = np.empty((frames, height, width, 3), np.uint8)
    for frame in range(frames):
        time = frame * BASE_FPS / fps
        if motion.affine:
            warped = _slide(view, motion.matrix(time), size)
        else:
            source = motion.source(points, time) * OVERSAMPLING + offset
            warped = _look_up(view.picture, source.astype(np.float32, copy=False))
        clip[frame] = cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA)
    return clip


def _slide(view: View, matrix: Grid, size: tuple[int, int]) -> Picture:
    """The oversampled frame under an affine ``matrix`` [2 3] about the middle of the frame."""
    height, width = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
    turn, shift = matrix[:, :2], matrix[:, 2] * OVERSAMPLING
    middle = np.array([width - 1, height - 1]) / 2
    whole = np.column_stack([turn, shift + np.array(view.centre) - 0.5 - turn @ middle])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    slid = cv2.warpAffine(view.picture, whole, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(slid, np.uint8)


def _look_up(picture: Picture, source: NDArray[np.float32]) -> Picture:
    """``picture`` at ``source`` [H W 2] (x, y in its pixels), mirrored beyond its edges."""
    nothing = np.empty(0, np.float32)
    looked_up = cv2.remap(picture, source, nothing, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(looked_up, np.uint8)
