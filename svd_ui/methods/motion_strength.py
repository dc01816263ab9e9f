"""More motion from less noise: the clip starts nearer to the still than the checkpoint was made for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from ..notes import Note
from . import MethodParams, method

if TYPE_CHECKING:
    from torch import Tensor

    from ..catalog.families import CheckpointFamily
    from ..core.sampling.context import SamplingContext
    from ..core.sampling.samplers import Step


@method("motion_strength")
class MotionStrength(MethodParams):
    """More motion, from a start with less noise. The clip may drift further from the picture.

    At high noise the model leans on the still and keeps it where it is; starting below, around nothing instead of around the
    still, sets it free: "Identifying and Solving Conditional Image Leakage in Image-to-Video Diffusion Model" (Zhao et al.,
    NeurIPS 2024, arXiv 2406.15735), which starts SVD at 100 instead of 700.
    """

    strength: float = Field(0.5, ge=0, le=1, title="Strength", description="0: the plain clip. 1: the most motion.")

    def needs(self, family: CheckpointFamily) -> Note | None:
        return Note.of("own_sigmas_only") if family.least_start is None else None

    def sample(self, context: SamplingContext) -> Iterator[Step]:
        """The checkpoint's walk from a lower first sigma: its share of the own one is ``least_start ** strength``."""
        if self.strength == 0:
            return context.walk(context.approximated(context.sigmas()), context.start(), context.sigmas())
        sigmas = lowered(context.sigmas(), (context.clip.row.facts.least_start or 1.0) ** self.strength)
        return context.walk(context.approximated(sigmas), context.start(sigmas), sigmas)


def lowered(sigmas: Tensor, share: float) -> Tensor:
    """``sigmas`` ``[N + 1]`` that begin at ``share`` of their first and end where they did, evenly closer in log sigma."""
    levels = sigmas[:-1].double().log()
    falls = levels[0] - levels[-1]
    closer = levels[-1] + (levels - levels[-1]) * (1 + math.log(share) / falls if falls else 1)
    return sigmas.new_tensor([*closer.exp().tolist(), 0.0])
