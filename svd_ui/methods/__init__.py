"""Control methods: how a clip is steered. One file per kind; ``docs/extending.md`` shows how to write one.

A kind is a class of parameters with what it costs, what it needs and how it samples. Importing this package loads no
torch: a method imports it inside ``sample``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from .. import plugins
from ..plugins import ByKind, Params, Registry

if TYPE_CHECKING:
    from ..catalog.families import CheckpointFamily
    from ..clip import ClipSpec
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step
    from ..notes import Note


class MethodParams(Params):
    """Base of the parameters of a control method."""

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


METHODS: Registry[MethodParams] = Registry(plugins.METHODS, __name__)
method = METHODS.register
"""``@method("camera")`` makes a subclass of ``MethodParams`` a kind of control method."""

Method = Annotated[MethodParams, ByKind(METHODS)]
