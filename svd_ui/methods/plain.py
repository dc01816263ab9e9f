"""Animate the still, nothing more: the checkpoint's sampler on the guided model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import MethodParams, method

if TYPE_CHECKING:
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step


@method("plain")
class Plain(MethodParams):
    """The motion the checkpoint makes by itself."""

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        """The checkpoint's own walk from pure noise."""
        sigmas = context.sigmas()
        return context.walk(context.approximated(sigmas), context.start(), sigmas)
