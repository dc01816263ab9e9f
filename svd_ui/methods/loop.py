"""A loop without a seam: the last frame goes over into the first as every frame does into its next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..notes import Note
from ..steering import camera
from ..steering.choreography import Choreography
from ..steering.fields import CameraText, camera_field
from . import BRIDGE_CALLS, Directed, method

if TYPE_CHECKING:
    from ..catalog.families import CheckpointFamily
    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..steering.choreography import View


@method("loop")
class Loop(Directed):
    """The clip ends as it began, so it plays for ever."""

    shorthand: ClassVar[str] = ""
    tells_all: ClassVar[bool] = True
    in_parts: ClassVar[bool] = True
    camera: CameraText = camera_field(
        "A path that ends where it begins. Blank: an orbit, or what the checkpoint finds."
    )

    def needs(self, family: CheckpointFamily) -> Note | None:
        return None if family.bridges or self.camera else Note.of("steps_too_large")

    def length(self, clip: ClipSpec) -> int:
        """There and, on another way, back: neither end is shown twice."""
        return 2 * clip.num_frames - 2 if self._bridged(clip) else clip.num_frames

    def relative_cost(self, clip: ClipSpec) -> float:
        return 1.0 + BRIDGE_CALLS if self._bridged(clip) else super().relative_cost(clip)

    def choreography(self, view: View) -> Choreography:
        return Choreography(camera=closed(camera.read(self.camera or "orbit")), closed=True)

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        return self._there_and_back(context) if self._bridged(context.clip) else context.directed()

    def _bridged(self, clip: ClipSpec) -> bool:
        """Whether a model finds its own way back to the still."""
        return not self.camera and not clip.row.facts.plays_plans

    def _there_and_back(self, context: SamplingContext) -> Iterator[Step]:
        from ..core.sampling.chain import chain
        from ..core.sampling.segments import Between, Opening, still_of

        still = still_of(context)
        parts = Opening(context), Between(context, 1, still, still, context.clip.num_frames)
        for step in chain(parts, context.resume):
            last = step.index == step.total
            yield replace(step, latents=step.latents[:, :-1]) if last else step


def closed(path: camera.CameraPath) -> camera.CameraPath:
    """``path``, and back to rest where it would end elsewhere."""
    last = path.keys[-1][1] if path.keys else camera.REST
    ends = last == camera.REST or last == camera.Pose(orbit=last.orbit)
    if ends:
        return path
    keys = tuple((time / 2, pose) for time, pose in path.keys)
    return camera.CameraPath((*keys, (1.0, camera.REST)), path.ease, path.handheld)
