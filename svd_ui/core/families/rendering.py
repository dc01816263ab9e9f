"""Frames looked up in a still where a scene has them look: at any size and any time between the latents' own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ...steering.choreography import Choreography
from ..staging import Stage
from .canvas import Canvas
from .prolonging import whole_cycles
from .scene import Scene
from .svd import ClipFrames, Decoder

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ..runtime import Runtime


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
    """Writes the frames of ``clip`` at its times and size, as its plan has them. They are looked up in the still at that
    size, which then has all the detail of its ``picture`` that they can show.
    """

    def __init__(
        self,
        runtime: Runtime,
        still: Tensor,
        clip: ClipSpec,
        picture: Image.Image | None,
        choreography: Choreography | None = None,
    ) -> None:
        super().__init__(runtime, still)
        self.clip, self.times = clip, clip.frame_times
        self.stage: Stage = Stage(runtime, still, clip, picture, choreography or Choreography(), clip.frame_size)

    def frames_of(self, latents: Tensor) -> ClipFrames:
        return RenderedFrames(self, self.stage, latents)

    def canvas(self, scene: Scene) -> Canvas:
        """The still with as much around it as ``scene``, the frames to be, looks at, or some more."""
        return self.stage.canvas(scene)


class RenderedFrames(ClipFrames):
    """Frames looked up where a clip's scene has them look, or its plan."""

    def __init__(self, decoder: Renderer, stage: Stage, latents: Tensor) -> None:
        super().__init__(decoder, latents)
        runtime = decoder.runtime
        raw = latents.float() / runtime.scaling_factor
        with runtime.use("vae") as vae:
            scene: Scene = vae.scene(raw.to(runtime.device, vae.dtype))
        if stage.choreography.closed:
            drift = whole_cycles(scene.drift, stage.span, len(scene) + 2)
            scene = replace(scene, pose=torch.cat([scene.pose, scene.pose[-1:].expand(2, -1)]), drift=drift)
        self._scene, self._stage = scene, stage
        self._times = torch.tensor(decoder.times, device=runtime.device)
        stage.prepare(scene.at(self._times), self._times / stage.span)

    def __len__(self) -> int:
        return len(self._times)

    def pixels(self, first: int, last: int, dtype: torch.dtype | None = None) -> Tensor:
        times = self._times[first:last]
        return self._stage.frames(self._scene.at(times), times / self._stage.span)
