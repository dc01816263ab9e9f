"""A longer clip, made in chunks that go on from each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..asset_ref import AssetRef
from ..steering import camera
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, camera_field, picture_field
from . import Directed, method

if TYPE_CHECKING:
    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..steering.choreography import View


@method("extend")
class Extend(Directed):
    """As many seconds as you like."""

    shorthand: ClassVar[str] = "seconds"
    seconds: float = Field(8.0, ge=1, le=60, title="Seconds", description="How long the clip is in the end.")
    camera: CameraText = camera_field("The camera’s path over all of it. Blank: the checkpoint’s own, carried on.")
    colour_lock: bool = Field(True, title="Hold colours", description="Each part keeps the colours of the picture.")
    stop_at_drift: float = Field(
        0.0, ge=0, le=50, title="Stop at drift",
        description="Ends where the picture has drifted so far from the first, in steps of colour (delta E). 0: never.",
    )  # fmt: skip
    before: AssetRef | None = picture_field("Frame before", "A frame shortly before the picture: its motion goes on.")

    def length(self, clip: ClipSpec) -> int:
        if clip.row.facts.plays_plans:
            return max(clip.num_frames, round(self.seconds * clip.fps) + 1)
        return max(clip.num_frames, round(self.seconds * clip.output_fps))

    def choreography(self, view: View) -> Choreography | None:
        return Choreography(camera=camera.read(self.camera)) if self.camera else None

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        if context.clip.row.facts.plays_plans:
            return self._prolonged(context)
        raise NotImplementedError

    def _prolonged(self, context: SamplingContext) -> Iterator[Step]:
        for step in context.directed():
            last = step.index == step.total
            yield replace(step, latents=context.prolonged(step.latents, self.length(context.clip))) if last else step
