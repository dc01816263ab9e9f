"""Control methods: how a clip is steered. One file per kind; ``docs/extending.md`` shows how to write one.

A kind is a class of parameters with what it costs, what it needs and how it samples. Importing this package loads no
torch: a method imports it inside ``sample``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from .. import plugins
from ..plugins import ByKind, Params, Registry

if TYPE_CHECKING:
    from ..catalog.families import CheckpointFamily
    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..notes import Note
    from ..steering.choreography import Choreography, View


class MethodParams(Params):
    """Base of the parameters of a control method.

    ``ends_as_asked``: where the clip ends is part of what is asked for, so the page puts no loop on it by itself.
    ``in_parts``: its clips are chains of parts, so those of a wall are made one by one.
    """

    in_parts: ClassVar[bool] = False
    ends_as_asked: ClassVar[bool] = False

    def length(self, clip: ClipSpec) -> int:
        """How many frames of latents the clip has in the end; ``clip.num_frames`` are made at once."""
        return clip.num_frames

    def shortened(self, clip: ClipSpec, length: int) -> Self:
        """The method of ``clip`` where it ended after ``length`` frames of latents."""
        return self

    def choreography(self, view: View) -> Choreography | None:
        """The plan of what moves; None where the method has none. Raises BadInput where the marks fit nothing."""
        return None

    def relative_cost(self, clip: ClipSpec) -> float:
        """Denoising work as a share of the plain clip's: 2 where every step calls the U-Net twice as often."""
        return 1.0

    def needs(self, family: CheckpointFamily) -> Note | None:
        """Why a kind of checkpoint cannot be steered like this; None where it can."""
        return None

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        """The steps of ``context.clip``, the last one with the final latents ``[B F C h w]``.

        Called without gradients, after an error again with ``context.resume`` as the last step that was seen.
        """
        raise NotImplementedError


class Directed(MethodParams):
    """Base of methods whose whole meaning is their choreography.

    ``tells_all``: the plan says what every pixel does, so what comes before a model is let go needs no call of it.
    """

    tells_all: ClassVar[bool] = False
    ends_as_asked: ClassVar[bool] = True

    @property
    def calm(self) -> bool:
        """Whether what nobody directs is kept calm (``Choreography.rest_stays``), so that a clip may begin near its plan."""
        return True

    @property
    def holds_all(self) -> bool:
        """Whether nothing of what a checkpoint makes may move: one that plays plans is not asked then."""
        return False

    def relative_cost(self, clip: ClipSpec) -> float:
        """The steps that are left out above the noise at which a clip near its plan begins (``SamplingContext.directed``)."""
        if clip.row.facts.plays_plans:
            return 0.0 if self.holds_all else 1.0
        begin, release = clip.row.facts.follows(clip)
        if not self.calm or begin == math.inf:
            return 1.0
        return clip.share_after(clip.first_step_below(release if self.tells_all else begin))

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        """The checkpoint's own walk, held to the plan."""
        return context.directed()


BRIDGE_CALLS = 2
"""Of the model by a step between two stills, for one of the plain clip: it is asked from both ends (``core/sampling/bridge.py``)."""

METHODS: Registry[MethodParams] = Registry(plugins.METHODS, __name__)
method = METHODS.register
"""``@method("camera")`` makes a subclass of ``MethodParams`` a kind of control method."""

Method = Annotated[MethodParams, ByKind(METHODS)]
