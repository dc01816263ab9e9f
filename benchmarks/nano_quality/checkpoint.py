"""The embedded checkpoint in fp32, and clips made with it the way the app makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recipes.nano.photos import load_photo
from recipes.nano.render import still as still_view
from recipes.nano.render import view_at
from svd_ui.catalog import PROFILES, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.events import never
from svd_ui.request import GenerationRequest, Speed

from .tracks import Frames, at_rate

SEED = 1234


@dataclass(frozen=True)
class Clip:
    """``frames`` [F H W 3] that play at ``fps``, and the latents [N C h w] they were decoded from."""

    frames: Frames
    fps: float
    latents: Tensor

    @property
    def compared(self) -> Frames:
        """The frames between which motion is measured."""
        return at_rate(self.frames, self.fps)


@dataclass(frozen=True)
class Nano:
    """The loaded checkpoint, and how fast its clips are asked for."""

    runtime: Runtime
    speed: Speed

    @classmethod
    def load(cls, folder: Path, speed: Speed) -> Nano:
        plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
        return cls(Runtime(folder_row(folder), folder, plan), speed)

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.runtime.row.height, self.runtime.row.width

    def animate(self, still: Frames, seed: int, **values: Any) -> Clip:
        """``values`` are the request's; what is left out is the checkpoint's own."""
        picture = Image.fromarray(still)
        asked = GenerationRequest(width=self.size[1], height=self.size[0], seed=seed, speed=self.speed, **values)
        clip = ClipSpec.of(asked, self.runtime.row)
        generator = seeded(clip.seed)
        cond = condition(self.runtime, picture, clip, generator)
        *_, last = sample(SamplingContext(self.runtime, cond, clip, generator))
        frames = [*decode(decoder_of(self.runtime, picture), last.latents, clip.num_frames, never())]
        return Clip(np.concatenate(frames), clip.output_fps, last.latents[0])


def still_of(path: Path, size: tuple[int, int]) -> Frames:
    """The largest centred crop at the frame's aspect, [H W 3], antialiased."""
    photo = load_photo(path)
    span = min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    return still_view(view_at(photo, size, span, (0.5, 0.5)), size)
