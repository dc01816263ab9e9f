"""A longer clip, made in chunks that go on from each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..notes import Note
from ..steering import camera
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, camera_field
from . import MethodParams, method

if TYPE_CHECKING:
    from torch import Tensor

    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..steering.choreography import View
    from ..steering.colour import Drift


@method("extend")
class Extend(MethodParams):
    """As many seconds as you like."""

    shorthand: ClassVar[str] = "seconds"
    in_parts: ClassVar[bool] = True
    seconds: float = Field(8.0, ge=1, le=60, title="Seconds", description="How long the clip is in the end.")
    camera: CameraText = camera_field("The camera’s path over all of it. Blank: the checkpoint’s own, carried on.")
    colour_lock: bool = Field(True, title="Hold colours", description="Each part keeps the colours of the picture.")
    stop_at_drift: float = Field(
        0.0, ge=0, le=50, title="Stop at drift",
        description="Ends where the picture has drifted so far from the first, in steps of colour (delta E). 0: never.",
    )  # fmt: skip

    def length(self, clip: ClipSpec) -> int:
        """Key frames where frames between them are rendered, else frames as they play."""
        if clip.row.facts.plays_plans:
            return max(clip.num_frames, round(self.seconds * clip.fps) + 1)
        return max(clip.num_frames, round(self.seconds * clip.output_fps))

    def shortened(self, clip: ClipSpec, length: int) -> Extend:
        return self.model_copy(update={"seconds": max(1.0, round(length / clip.output_fps, 3))})

    def relative_cost(self, clip: ClipSpec) -> float:
        if clip.row.facts.plays_plans:
            return 1.0
        following = clip.share_after(clip.first_step_below(clip.row.facts.follows(clip)[1]))
        return (following if self.camera else 1) + (self._parts(clip) - 1) * following

    def choreography(self, view: View) -> Choreography:
        return Choreography(camera=camera.read(self.camera) if self.camera else None)

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        if context.clip.row.facts.plays_plans:
            return self._prolonged(context)
        return self._chained(context)

    def _parts(self, clip: ClipSpec) -> int:
        """The clip and what goes on from it, each of ``num_frames`` that begin with the last one before."""
        return math.ceil((self.length(clip) - 1) / (clip.num_frames - 1))

    def _prolonged(self, context: SamplingContext) -> Iterator[Step]:
        """The checkpoint's clip, whose camera keeps its way while what stirs does so over and over."""
        length = self.length(context.clip)
        for step in context.directed():
            last = step.index == step.total
            yield replace(step, latents=context.prolonged(step.latents, length)) if last else step

    def _chained(self, context: SamplingContext) -> Iterator[Step]:
        """Parts that each follow the way of the one before: a reference carried on, where it is let go the model's own."""
        from ..core.sampling.chain import Segment, chain
        from ..core.sampling.segments import Continuation, Opening, Planned

        clip, length = context.clip, self.length(context.clip)
        opening: Segment = Planned(context) if self.camera else Opening(context)
        later = [Continuation(context, part, self.colour_lock) for part in range(1, self._parts(clip))]
        ends: dict[int, int] = {}
        done = 0
        segments = [opening, *later]
        for number, segment in enumerate(segments):
            done += segment.total
            ends[done] = (number + 1) * (clip.num_frames - 1)
        for step in chain(segments, context.resume):
            if step.index not in ends:
                yield step
                continue
            far = self._drifted(context, step.latents, ends[step.index])
            if far or step.index == step.total:
                step = replace(step, total=step.index, latents=step.latents[:, :length])
                self._tell(context, step.latents, list(ends.values()), far)
            yield step
            if far:
                return

    def _drifted(self, context: SamplingContext, latents: Tensor, frame: int) -> bool:
        return bool(self.stop_at_drift) and self._drift(context, latents, frame).delta_e > self.stop_at_drift

    def _drift(self, context: SamplingContext, latents: Tensor, frame: int) -> Drift:
        from ..core.decode import to_frames
        from ..steering.colour import drift

        assert context.stage is not None, "an extended clip has a plan"
        return drift(to_frames(context.decode(latents[0, frame : frame + 1]))[0], context.stage.still.numpy())

    def _tell(self, context: SamplingContext, latents: Tensor, ends: list[int], stopped: bool) -> None:
        """How far each part's end has drifted, for people."""
        length = latents.shape[1]
        made = [end for end in ends if end - ends[0] < length - 1]
        drifts = [self._drift(context, latents, min(end, length - 1)) for end in made]
        curve = [f"{each.delta_e:.1f}" for each in drifts]
        context.notes.append(
            Note.of("drift_curve", curve=curve, sharpness=[f"{each.sharpness:.2f}" for each in drifts])
        )
        if stopped:
            seconds = f"{latents.shape[1] / context.clip.output_fps:.1f}"
            context.notes.append(Note.of("stopped_at_drift", seconds=seconds, limit=f"{self.stop_at_drift:g}"))
