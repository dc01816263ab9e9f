"""The clip ends on another still, and may pass further ones on its way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from ..asset_ref import AssetRef, TimedRefs, timed
from ..errors import BadInput
from ..notes import Note
from ..steering.choreography import Choreography, Picture, Scenery
from ..steering.fields import picture_field, widget
from ..steering.morph import morph, way
from . import BRIDGE_CALLS, Directed, method

if TYPE_CHECKING:
    from ..catalog.families import CheckpointFamily
    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..steering.choreography import View

MOST_BETWEEN = 2
Keys = tuple[tuple[float, str], ...]


def read_keys(text: str) -> Keys:
    """``0.4=sha256:...; 0.7=sha256:...`` => (share of the clip, ref), rising. Raises ValueError with a sentence."""
    found = timed(text)
    if len(found) > MOST_BETWEEN:
        raise ValueError(f"{MOST_BETWEEN} pictures may stand between the first and the last: leave some out")
    return found


def _keys(text: str) -> str:
    read_keys(text)
    return text


def _at_frames(keys: Keys, view: View) -> Keys:
    """``keys`` at the shares of the clip that its frames stand for, so that each picture is seen. Raises BadInput."""
    last = max(1, view.frames - 1)
    places = [round(share * last) for share, _ in keys]
    if any(b <= a for a, b in pairwise((0, *places, last))):
        raise BadInput("The pictures stand too close together for so few frames.", field="method.end_frame.keys")
    return tuple((place / last * view.last, ref) for place, (_, ref) in zip(places, keys, strict=True))


@method("end_frame")
class EndFrame(Directed):
    """The clip ends on a second picture."""

    shorthand: ClassVar[str] = "image"
    in_parts: ClassVar[bool] = True
    image: AssetRef | None = picture_field("End frame", "The picture the clip ends on.")
    keys: Annotated[TimedRefs, AfterValidator(_keys)] = Field(
        "", max_length=400, title="Pictures between",
        description="Up to two more, at shares of the clip: 0.4=sha256:…; 0.7=sha256:….",
        json_schema_extra=widget("pictures"),
    )  # fmt: skip

    def needs(self, family: CheckpointFamily) -> Note | None:
        return None if family.bridges else Note.of("steps_too_large")

    def relative_cost(self, clip: ClipSpec) -> float:
        """A bridge asks from both ends in turn; where the plan is played nothing is asked."""
        return 0.0 if clip.row.facts.plays_plans else float(BRIDGE_CALLS)

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        return context.directed() if context.clip.row.facts.plays_plans else self._bridged(context)

    def _bridged(self, context: SamplingContext) -> Iterator[Step]:
        """From each still to the next, at the frames nearest to their times."""
        from ..core.sampling.chain import chain, spans
        from ..core.sampling.segments import Between, still_of

        assert context.stage is not None, "a clip with an end frame has a plan"
        last = context.clip.num_frames - 1
        later = context.stage.choreography.stills
        places = [0, *(round(share * last) for share, _ in later)]
        if min(b - a for a, b in pairwise(places)) < 2:
            raise BadInput("The pictures stand too close together for so few frames.", field="method.end_frame.keys")
        stills = [still_of(context), *(still for _, still in later)]
        parts = [
            Between(context, number, stills[number], stills[number + 1], span.frames, overlap=min(number, 1))
            for number, span in enumerate(spans(places, last + 1))
        ]
        return chain(parts, context.resume)

    def choreography(self, view: View) -> Choreography:
        if self.image is None:
            raise BadInput("Choose the picture that the clip ends on.", field="method.end_frame.image")
        refs = (*_at_frames(read_keys(self.keys), view), (view.last, self.image))
        stills = ((0.0, view.still), *((share, view.still_of(ref)) for share, ref in refs))
        arrays = [np.asarray(still) for _, still in stills]
        ways = [way(*pair) for pair in pairwise(arrays)]
        notes = () if all(each.related for each in ways) else (Note.of("stills_unrelated"),)

        def scenery(picture: Picture) -> Scenery:
            size = picture.shape[1], picture.shape[0]
            later = [(share, np.asarray(still.resize(size))) for share, still in stills[1:]]
            return morph([(0.0, picture), *later], ways)

        held = np.ones((view.still.height, view.still.width), np.float32)
        return Choreography(hold=held, scenery=scenery, stills=stills[1:], notes=notes)
