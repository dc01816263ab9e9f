"""Frames looked up in a still where a scene has them look: at any size and any time between the latents' own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...media.image import crop_box
from ..conditioning import digest
from .canvas import Box, Canvas, margin_for
from .scene import Scene
from .svd import ClipFrames, Decoder

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ..runtime import Runtime

REACH = 0.5
"""How much of a frame's width and height is kept beyond each of its sides, at most."""
MARGIN_STEP = 0.05
MARGIN_POINTS = 96
"""Along the longer side, where it is asked how far a clip looks beyond its still."""


class WarpDecoder(Decoder):
    """Moves the still's pixels. How far is added up from frame to frame, so it looks at the clip from its beginning."""

    def __init__(self, runtime: Runtime, still: Tensor) -> None:
        super().__init__(runtime)
        self._still = still.to(runtime.device)

    def pixels(self, latents: Tensor, first: int = 0, dtype: torch.dtype | None = None) -> Tensor:
        raw = latents.float() / self.runtime.scaling_factor
        with self.runtime.use("vae", dtype) as vae:
            raw = raw.to(self.runtime.device, vae.dtype)
            pixels: Tensor = vae.decode(raw, num_frames=len(raw), still=self._still, first=first).sample
        return pixels.float()


class Renderer(WarpDecoder):
    """Writes the frames of ``clip`` at its times and size. They are looked up in the still at that size, which then has
    all the detail of its ``picture`` that they can show.
    """

    def __init__(self, runtime: Runtime, still: Tensor, clip: ClipSpec, picture: Image.Image | None) -> None:
        super().__init__(runtime, still)
        self.times, (self.width, self.height) = clip.frame_times, clip.frame_size
        self._large = _levels(still)[0].permute(1, 2, 0).contiguous()
        self._around: tuple[NDArray[np.uint8], Box] | None = None
        self._canvas: Canvas | None = None
        self._margin = 0.0, 0.0
        if picture is not None:
            focus = clip.focus_x, clip.focus_y
            self._around = _around(picture, self.width, self.height, focus)
        if self._large.shape[:2] != (self.height, self.width):
            self._large = self._enlarged()

    def frames_of(self, latents: Tensor) -> ClipFrames:
        return RenderedFrames(self, latents)

    def canvas(self, scene: Scene) -> Canvas:
        """The still with as much around it as ``scene``, the frames to be, looks at, or some more.

        Painting takes seconds, so the tiles of a wall share what was painted for those before them.
        """
        scale = MARGIN_POINTS / max(self.height, self.width)
        places = scene.places(max(2, round(self.height * scale)), max(2, round(self.width * scale)))
        needed = [share + 1 / MARGIN_POINTS for share in margin_for(places, self.height, self.width)]
        x, y = (MARGIN_STEP * math.ceil(min(REACH, share) / MARGIN_STEP) for share in needed)
        if self._canvas is None or x > self._margin[0] or y > self._margin[1]:
            self._margin = max(x, self._margin[0]), max(y, self._margin[1])
            self._canvas = self._painted(self._margin)
        return self._canvas

    def _painted(self, margin: tuple[float, float]) -> Canvas:
        """Kept with what the encoders made of the last stills: the next clip of the same one starts with it."""
        around = None if self._around is None else (digest(torch.from_numpy(self._around[0])), self._around[1])

        def paint() -> Tensor:
            return _levels(Canvas.of(self._large.to(self.runtime.device), self._around, margin).pixels)

        key = "canvas", digest(self._large), around, margin
        levels = self.runtime.encoder_cache.get_or_encode(key, paint).to(self.runtime.device)
        left, top = (levels.shape[-1] - self.width) // 2, (levels.shape[-2] - self.height) // 2
        return Canvas(levels.float() / 127.5 - 1, left, top, self.height, self.width)

    def _enlarged(self) -> Tensor:
        """The still at the frames' size, from its picture where that is known."""
        if self._around is None:
            still = Image.fromarray(self._large.numpy()).resize((self.width, self.height), Image.Resampling.LANCZOS)
            return torch.from_numpy(np.array(still))
        pixels, (left, top, _, _) = self._around
        return torch.from_numpy(pixels[int(top) :, int(left) :][: self.height, : self.width].copy())


class RenderedFrames(ClipFrames):
    """Frames looked up where a clip's scene has them look."""

    def __init__(self, decoder: Renderer, latents: Tensor) -> None:
        super().__init__(decoder, latents)
        runtime = decoder.runtime
        raw = latents.float() / runtime.scaling_factor
        with runtime.use("vae") as vae:
            self._scene: Scene = vae.scene(raw.to(runtime.device, vae.dtype))
        self._times = torch.tensor(decoder.times, device=runtime.device)
        self._size = decoder.height, decoder.width
        self._canvas = decoder.canvas(self._scene.at(self._times))

    def __len__(self) -> int:
        return len(self._times)

    def pixels(self, first: int, last: int, dtype: torch.dtype | None = None) -> Tensor:
        return self._canvas.look(self._scene.at(self._times[first:last]).places(*self._size))


def _levels(pixels: Tensor) -> Tensor:
    """[-1, 1] => uint8"""
    return pixels.add(1).mul(127.5).round().to(torch.uint8)


def _around(picture: Image.Image, width: int, height: int, focus: tuple[float, float]) -> tuple[NDArray[np.uint8], Box]:
    """What a camera may see of ``picture``, so large that the crop is ``width`` x ``height``; and the crop's box in that."""
    left, top, right, bottom = crop_box(picture.size, width, height, *focus)
    across, down = (right - left) / width, (bottom - top) / height
    rest = left / across, top / down, (picture.width - right) / across, (picture.height - bottom) / down
    most = math.ceil(REACH * width), math.ceil(REACH * height)
    before_x, before_y, after_x, after_y = (
        min(most[at % 2], math.floor(there + 1e-6)) for at, there in enumerate(rest)
    )
    box = (
        max(0.0, left - before_x * across),
        max(0.0, top - before_y * down),
        min(float(picture.width), right + after_x * across),
        min(float(picture.height), bottom + after_y * down),
    )
    size = before_x + width + after_x, before_y + height + after_y
    pixels = np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box))
    return pixels, (before_x, before_y, before_x + width, before_y + height)
