"""A first look at a plan of motion, before anything is computed: the still is warped along the camera's path, in small.

It shows where things go, not what the clip will look like. Nearness is taken from the plan; without one the lower part of the
picture counts as nearer, as ground and subjects do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .camera import NAMES, Floats
from .choreography import Choreography, Picture, View
from .marks import Arrow, Mask

WIDTH = 512
FRAMES = 14
VEIL = 0.22
"""How much of grey lies over what is held."""
LINE, EDGE = (255, 255, 255), (90, 72, 224)
MOVED = 0.004
"""Shares of the frame: a path shorter than this is not drawn."""


def small(view: View, width: int = WIDTH) -> tuple[int, int]:
    """(width, height) of the sketch of a view: its shape, no larger than it is, the longer side ``width``."""
    scale = min(1.0, width / max(view.size))
    return max(2, round(view.size[0] * scale)), max(2, round(view.size[1] * scale))


def sketch(
    plan: Choreography, view: View, width: int = WIDTH, frames: int = FRAMES, arrows: Iterable[Arrow] = ()
) -> list[Image.Image]:
    """``frames`` RGB pictures of the plan, the longer side ``width``: the camera's way, what moves by itself, what is held,
    and ``arrows``, whose places are shares of the whole picture. May raise whatever the plan's scenery raises.
    """
    times = np.linspace(0, 1, frames)
    size = small(view, width)
    still = np.asarray(view.still.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    scenery = plan.scenery(still) if plan.scenery else None
    poses = (
        None if plan.camera is None or plan.camera.still else plan.camera.poses(times.tolist(), view.seconds, view.seed)
    )
    near = _nearness(plan, size) if poses is not None else None
    held = None if plan.hold is None else _resized(plan.hold, size)
    ways = [[view.place(point) for point in arrow] for arrow in arrows]
    made = []
    for index, time in enumerate(times):
        frame = still if scenery is None else scenery(float(time))
        if poses is not None and near is not None:
            frame = _seen(frame, poses[index], near, plan.parallax)
        if held is not None:
            frame = _veiled(frame, held)
        image = Image.fromarray(np.ascontiguousarray(frame, np.uint8))
        _drawn(image, poses, index, ways, float(time))
        made.append(image)
    return made


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """The frames of a sketch one below the other."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width, height * len(pictures)))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (0, index * height))
    return sheet


def _rgb(image: Image.Image, size: tuple[int, int]) -> Picture:
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))


# What the camera sees


def _nearness(plan: Choreography, size: tuple[int, int]) -> Mask:
    """[H W], -0.5 far to 0.5 near."""
    if plan.nearness is not None:
        return _resized(plan.nearness, size)
    width, height = size
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    near: Mask = np.broadcast_to(down * down * (3 - 2 * down) - np.float32(0.5), (height, width))
    return near


def _seen(picture: Picture, pose: Floats, near: Mask, parallax: float) -> Picture:
    """``picture`` [H W 3] from where the camera is, ``pose`` being one row of ``CameraPath.poses``.

    Each pixel is fetched from where it came from: what is near by ``near`` [H W] is shifted and enlarged more.
    """
    import cv2

    at = dict(zip(NAMES, pose.tolist(), strict=True))
    height, width = picture.shape[:2]
    x, y = np.meshgrid(
        np.arange(width, dtype=np.float32) - (width - 1) / 2, np.arange(height, dtype=np.float32) - (height - 1) / 2
    )
    depth = near * np.float32(parallax)
    moved = np.float32(1) + depth
    x = x + np.float32(at["pan"] * width) * moved + depth * np.float32(at["arc"] * width)
    y = y - np.float32(at["tilt"] * height) * moved
    turn = np.deg2rad(-at["roll"])
    scale = np.exp(np.float32(-at["zoom"]) * moved - np.float32(at["dolly"]) * (near + np.float32(0.5)))
    across = (x * np.float32(np.cos(turn)) - y * np.float32(np.sin(turn))) * scale + np.float32((width - 1) / 2)
    down = (x * np.float32(np.sin(turn)) + y * np.float32(np.cos(turn))) * scale + np.float32((height - 1) / 2)
    return _remapped(cv2, picture, across, down)


def _remapped(cv2: Any, picture: Picture, across: NDArray[np.float32], down: NDArray[np.float32]) -> Picture:
    """Beyond the edge its colours go on."""
    found: Picture = cv2.remap(
        np.ascontiguousarray(picture), across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return found


# What is drawn over it


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    made = Image.fromarray(np.asarray(mask, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(made, np.float32)


def _veiled(picture: Picture, held: Mask) -> Picture:
    """Grey over what is held, a line around what is free."""
    veil = (held * VEIL)[..., None]
    found = picture * (1 - veil) + 128 * veil
    inside = held > 0.5
    edge = np.zeros_like(inside)
    edge[1:] |= inside[1:] != inside[:-1]
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    found[edge] = LINE
    veiled: Picture = found.astype(np.uint8)
    return veiled


def _drawn(
    image: Image.Image, poses: Floats | None, index: int, ways: Sequence[Sequence[tuple[float, float]]], time: float
) -> None:
    draw = ImageDraw.Draw(image)
    for way in ways:
        _arrow(draw, [(x * image.width, y * image.height) for x, y in way], time)
    if poses is None:
        return
    pan, tilt = poses[:, NAMES.index("pan")], poses[:, NAMES.index("tilt")]
    if max(np.ptp(pan), np.ptp(tilt)) < MOVED:
        return
    # The way that the middle of the frame goes, on the ground it goes over: it moves against the picture.
    points = [
        (image.width * (0.5 + float(x - pan[index])), image.height * (0.5 - float(y - tilt[index])))
        for x, y in zip(pan, tilt, strict=True)
    ]
    _line(draw, points)
    x, y = image.width / 2, image.height / 2
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=EDGE, outline=LINE)


def _arrow(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], time: float) -> None:
    _line(draw, points)
    (x0, y0), (x1, y1) = points[-2], points[-1]
    length = max(1e-6, float(np.hypot(x1 - x0, y1 - y0)))
    dx, dy = (x1 - x0) / length * 9, (y1 - y0) / length * 9
    draw.polygon(
        [(x1, y1), (x1 - dx + dy * 0.6, y1 - dy - dx * 0.6), (x1 - dx - dy * 0.6, y1 - dy + dx * 0.6)], fill=LINE
    )
    x, y = _along(points, time)
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=EDGE, outline=LINE)


def _along(points: Sequence[tuple[float, float]], time: float) -> tuple[float, float]:
    """Where one is on the way at a share of it."""
    steps = np.hypot(*np.diff(np.array(points), axis=0).T)
    known = np.concatenate(([0.0], np.cumsum(steps)))
    at = time * known[-1]
    return float(np.interp(at, known, [x for x, _ in points])), float(np.interp(at, known, [y for _, y in points]))


def _line(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]]) -> None:
    draw.line(points, fill=(20, 20, 28), width=4)
    draw.line(points, fill=LINE, width=2)
