"""Few-step weights in torch: their own sigmas, and jumps instead of Euler's small steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from ..sampling import samplers
from ..sampling.denoiser import Denoiser
from ..sampling.samplers import down_to_zero
from .svd import FamilyVerbs

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ..runtime import Runtime


class ConsistencyVerbs(FamilyVerbs):
    """See ``catalog/families/consistency.py``."""

    def sigmas(self, runtime: Runtime, clip: ClipSpec) -> Tensor:
        return down_to_zero(clip.sigmas)

    def walk(
        self, denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: Callable[[], Tensor], first: int
    ) -> Iterator[samplers.Step]:
        return samplers.consistency(denoiser, x, sigmas, noise, first)
