"""A control method in one file: the still takes part in the noise that a clip starts from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from svd_ui.methods import MethodParams, method

if TYPE_CHECKING:
    from svd_ui.clip import ClipSpec
    from svd_ui.core.sampling.context import SamplingContext
    from svd_ui.core.sampling.samplers import Step


@method("wobble")
class Wobble(MethodParams):
    """Every step is taken twice, and the noise it starts from is stronger or weaker."""

    amount: float = Field(0.5, ge=0, le=1, title="Wobble amount", description="0 is calm, 1 is wild.")

    def relative_cost(self, clip: ClipSpec) -> float:
        return 2.0

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        sigmas = context.sigmas()
        once = context.approximated(sigmas)
        still = context.still
        start = still + (context.start() - still) * (0.5 + self.amount)
        return context.walk(lambda x, sigma: (once(x, sigma) + once(x, sigma)) / 2, start, sigmas)
