"""Animate the still, nothing more: the checkpoint's sampler on the guided model."""

from __future__ import annotations

from collections.abc import Iterator

from ..sampling.context import SamplingContext
from ..sampling.samplers import Step


def sample(context: SamplingContext) -> Iterator[Step]:
    """See ``sampling.run.sample``."""
    sigmas = context.sigmas()
    return context.walk(context.approximated(sigmas), context.start(), sigmas)
