"""The embedded checkpoint in fp32, and clips made with it the way the app makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.families.rendering import Renderer
from svd_ui.core.families.scene import Scene
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.events import never
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest, Speed
from svd_ui.steering.choreography import view_of

from .tracks import Frames, at_rate

SEED = 1234
AT_ONCE = 8
"""Frames rendered together."""
NO_PICTURES: Mapping[str, Image.Image] = {}


@dataclass(frozen=True)
class Photo:
    """A photograph, and its middle as the frame shows it, [H W 3]."""

    picture: Image.Image
    still: Frames

    @classmethod
    def open(cls, path: Path, size: tuple[int, int]) -> Photo:
        """``size``: height, width."""
        picture = Image.open(path).convert("RGB")
        return cls(picture, np.asarray(fit(picture, size[1], size[0])))

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole photograph: height, width."""
        return self.picture.height, self.picture.width


@dataclass(frozen=True)
class Clip:
    """``frames`` [F H W 3] that play at ``fps``, and the ``scene`` of its key frames that they show.

    ``decoder`` made the frames, by the plan of the clip's method where it has one.
    """

    frames: Frames
    fps: float
    spec: ClipSpec
    scene: Scene
    decoder: Renderer | None = None

    @property
    def compared(self) -> Frames:
        """The frames between which motion is measured."""
        return at_rate(self.frames, self.fps)

    @property
    def shown(self) -> Scene:
        """The scene at the frames' own times."""
        return self.scene.at(torch.tensor(self.spec.frame_times))

    @property
    def directed(self) -> Scene:
        """The same as the clip's plan has it."""
        assert self.decoder is not None, "made by a checkpoint"
        stage = self.decoder.stage
        return stage.directed(self.shown, torch.tensor(self.spec.frame_times) / stage.span)


@dataclass(frozen=True)
class Nano:
    """The loaded checkpoint, and how fast its clips are asked for."""

    runtime: Runtime
    speed: Speed = "exact"

    @classmethod
    def load(cls, folder: Path, speed: Speed) -> Nano:
        plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
        return cls(Runtime(folder_row(folder), folder, plan), speed)

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.runtime.row.height, self.runtime.row.width

    def spec(self, seed: int, **values: Any) -> ClipSpec:
        """``values`` are the request's; what is left out is the checkpoint's own."""
        height, width = self.size
        asked = GenerationRequest(width=width, height=height, seed=seed, speed=self.speed, **values)
        return ClipSpec.of(asked, self.runtime.row)

    def animate(
        self, photo: Photo, seed: int, pictures: Mapping[str, Image.Image] = NO_PICTURES, **values: Any
    ) -> Clip:
        """``pictures`` are those that a method's fields name."""
        spec = self.spec(seed, **values)
        still, generator = Image.fromarray(photo.still), seeded(spec.seed)
        plan = spec.request.method.choreography(view_of(spec, still, photo.picture.size, pictures.__getitem__))
        cond = condition(self.runtime, still, spec, generator)
        decoder = decoder_of(self.runtime, still, spec, photo.picture, plan)
        assert isinstance(decoder, Renderer), "the checkpoint renders its frames"
        *_, last = sample(SamplingContext(self.runtime, cond, spec, generator, decoder=decoder))
        frames = np.concatenate([*decode(decoder, last.latents, AT_ONCE, never())])
        scene = self.runtime.vae.scene(last.latents[0].float() / self.runtime.scaling_factor)
        return Clip(frames, spec.output_fps, spec, scene, decoder)

    def renderer(self, photo: Photo, spec: ClipSpec) -> Renderer:
        decoder = decoder_of(self.runtime, Image.fromarray(photo.still), spec, photo.picture)
        assert isinstance(decoder, Renderer), "the checkpoint renders its frames"
        return decoder
