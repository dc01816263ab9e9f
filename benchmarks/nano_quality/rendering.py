"""Frames between the key frames, and frames of another size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from svd_ui.core.decode import to_frames
from svd_ui.core.families.canvas import Canvas
from svd_ui.core.families.scene import Scene

from .checkpoint import AT_ONCE, Clip, Nano, Photo
from .looks import psnr
from .tracks import Frames

SWAYS = 3.0
"""Radians a second, as leaves and water do where nano was trained."""


def between_keys(nano: Nano, photo: Photo, clip: Clip) -> float:
    """PSNR of frames between key frames against frames of the same motion at their own times.

    The motion is the clip's: its camera's end, reached as softly as a smoothstep goes, and the reach of what stirs, swaying.
    """
    spec = clip.spec
    times = torch.tensor(spec.frame_times)
    keys = torch.arange(spec.num_frames, dtype=torch.float32)
    span, rate = spec.num_frames - 1, SWAYS / spec.fps
    rendered, true = (
        known(clip.scene, keys / span, keys * rate).at(times),
        known(clip.scene, times / span, times * rate),
    )
    own = (times - times.round()).abs() < 1e-6
    canvas = nano.renderer(photo, spec).canvas(true)
    pairs = zip(*(_frames(canvas, scene, spec.frame_size) for scene in (rendered, true)), strict=True)
    return float(np.mean([psnr(a, b) for (a, b), is_key in zip(pairs, own, strict=True) if not is_key]))


def known(scene: Scene, share: Tensor, turns: Tensor) -> Scene:
    """A motion that is known at any time, as far as ``scene`` goes: how much of the way is gone, and how far a sway has turned."""
    gone = share * share * (3 - 2 * share)
    phase = torch.linspace(0, 2 * math.pi, scene.nearness.shape[1])
    sway = torch.sin(turns[:, None] + phase) - torch.sin(phase)
    reach = scene.drift.abs().amax(dim=0)
    return replace(scene, pose=gone[:, None] * scene.pose[-1], drift=sway[:, None, None] * reach)


def _frames(canvas: Canvas, scene: Scene, size: tuple[int, int]) -> Iterator[Frames]:
    """One after the other; ``size`` is (width, height)."""
    for first in range(0, len(scene), AT_ONCE):
        some = torch.arange(first, min(first + AT_ONCE, len(scene)))
        yield from to_frames(canvas.look(scene.at(some).places(size[1], size[0])))


def other_size(nano: Nano, photo: Photo, clip: Clip) -> float:
    """PSNR of frames rendered twice as large and made small again, against those of the clip; every eighth."""
    spec = replace(clip.spec, render_height=2 * clip.spec.height)
    some = torch.tensor(spec.frame_times)[::8]
    shown = clip.scene.at(some)
    canvas = nano.renderer(photo, spec).canvas(shown)
    large = np.stack([*_frames(canvas, shown, spec.frame_size)])
    small = [cv2.resize(frame, (clip.spec.width, clip.spec.height), interpolation=cv2.INTER_AREA) for frame in large]
    return psnr(np.stack(small).astype(np.uint8), clip.frames[::8])
