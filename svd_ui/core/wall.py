"""Many clips of one still: each starts as it would alone, and several share one call of the U-Net."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import reduce

import torch
from PIL import Image
from torch import Tensor

from ..clip import ClipSpec
from ..events import CancelToken
from .conditioning import condition
from .families.svd import Decoder
from .runtime import Runtime
from .sampling.context import SamplingContext, sample
from .sampling.denoiser import Conditioning, concatenated
from .sampling.samplers import Step, seeded


@dataclass(frozen=True)
class Batch:
    """Tiles that are made together; ``places`` say which of the wall they are.

    ``conditioning`` and ``generators`` have one entry per tile. ``last`` is the step they have come to, to go on from.
    """

    places: tuple[int, ...]
    conditioning: Conditioning
    generators: tuple[torch.Generator, ...]
    last: Step | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def steps_done(self) -> int:
        return 0 if self.last is None else self.last.index

    def split(self, at: int) -> tuple[Batch, Batch]:
        """The first ``at`` tiles and the others, both where they were."""
        return self._part(slice(None, at)), self._part(slice(at, None))

    def _part(self, which: slice) -> Batch:
        cond, last = self.conditioning, self.last
        if last is not None:
            last = replace(last, latents=last.latents[which], denoised=last.denoised[which])
        parts = (cond.image_embeds[which], cond.image_latents[which], cond.added_time_ids[which])
        return Batch(self.places[which], Conditioning(*parts), self.generators[which], last)

    def without(self, gone: AbstractSet[int]) -> Batch | None:
        """The tiles whose places are not ``gone``, where they were; None where none is left."""
        if gone.isdisjoint(self.places):
            return self
        kept = [one for at in range(len(self)) if (one := self._part(slice(at, at + 1))).places[0] not in gone]
        return reduce(_joined, kept) if kept else None

    def latents(self) -> list[Tensor]:
        """``[1 F C h w]`` of every tile after the last step; nothing before the first."""
        return _each(self.last.latents) if self.last else []

    def denoised(self) -> list[Tensor]:
        """The estimates of the last step, likewise."""
        return _each(self.last.denoised) if self.last else []


def _joined(one: Batch, other: Batch) -> Batch:
    """Tiles that came to the same step, as one batch."""
    last = one.last
    if last is not None and other.last is not None:
        latents, denoised = ((last.latents, other.last.latents), (last.denoised, other.last.denoised))
        last = replace(last, latents=torch.cat(latents), denoised=torch.cat(denoised))
    cond = concatenated(one.conditioning, other.conditioning)
    return Batch((*one.places, *other.places), cond, (*one.generators, *other.generators), last)


@torch.no_grad()
def whole_wall(runtime: Runtime, still: Image.Image, clip: ClipSpec) -> Batch:
    """All tiles of a wall, row by row, as one batch.

    A seed's first numbers are the noise on the still, so its tiles share the encoded still; each begins its own
    clip with the numbers that follow, exactly as that tile alone would.
    """
    drawn: dict[int, tuple[Conditioning, torch.Generator]] = {}
    tiles: list[Conditioning] = []
    generators: list[torch.Generator] = []
    for seed, motion in clip.pairs:
        if seed not in drawn:
            generator = seeded(seed)
            drawn[seed] = condition(runtime, still, clip.tile(seed, motion), generator), generator
        shared, generator = drawn[seed]
        tiles.append(_moving(shared, motion))
        generators.append(_copy(generator))
    return Batch(tuple(range(len(tiles))), reduce(concatenated, tiles), tuple(generators))


def sample_batch(decoder: Decoder, batch: Batch, clip: ClipSpec, cancel: CancelToken) -> Iterator[Batch]:
    """``batch`` after each step, going on from where it is. Fails, and may be called again, as ``run.sample`` does."""
    tiles = (batch.conditioning, clip, batch.generators, cancel, batch.last)
    for step in sample(SamplingContext(decoder.runtime, *tiles, decoder=decoder)):
        yield replace(batch, last=step)


def _each(batch: Tensor) -> list[Tensor]:
    return [batch[i : i + 1] for i in range(len(batch))]


def _moving(cond: Conditioning, motion_bucket_id: int) -> Conditioning:
    """The same still told with another motion."""
    times = cond.added_time_ids.clone()
    times[:, 1] = motion_bucket_id
    return replace(cond, added_time_ids=times)


def _copy(generator: torch.Generator) -> torch.Generator:
    return torch.Generator("cpu").set_state(generator.get_state())
