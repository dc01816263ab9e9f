"""Parts of a chain (``chain.py``) on a model: the clip itself, what goes on from its last frame, and a way to another still.

Each part is conditioned on a still of its own and draws from a generator of its own, so that a run goes on from any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...steering.carry_on import carried_on
from ...steering.colour import matched
from ..conditioning import to_pixels
from ..decode import to_frames
from ..families.scene import flat
from .anchoring import masked
from .bridge import DISTILLED_ABOVE, bridge, unguided
from .context import SamplingContext
from .denoiser import Pair
from .samplers import Step, gaussian

SEEN = 2
"""Frames from which it is told how things move."""


@dataclass(frozen=True)
class Opening:
    """The clip as it is without more."""

    context: SamplingContext
    overlap: int = 0

    @property
    def frames(self) -> int:
        return self.context.clip.num_frames

    @property
    def total(self) -> int:
        return self.context.clip.num_inference_steps

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        context = resumed(self.context, first, self.total, x)
        sigmas = context.sigmas()
        return context.walk(context.approximated(sigmas), context.start(), sigmas)


@dataclass(frozen=True)
class Planned(Opening):
    """The clip as its plan has it."""

    @property
    def total(self) -> int:
        return self.context.clip.num_inference_steps - skipped(self.context)

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        return resumed(self.context, first, self.total, x).directed()


@dataclass(frozen=True)
class Continuation:
    """Goes on from the last frame, as the frames before it moved or as the plan's camera goes.

    The reference is followed down to the noise at which a model is let go, as ``SamplingContext.directed`` has it. ``locked``:
    the frames it goes on from get the colours of the still.
    """

    context: SamplingContext
    number: int
    locked: bool = True
    overlap: int = 1

    @property
    def frames(self) -> int:
        return self.context.clip.num_frames

    @property
    def total(self) -> int:
        return self.context.clip.num_inference_steps - skipped(self.context)

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        assert previous is not None, "a clip goes on from what there is"
        seen = to_frames(self.context.decode(previous[0, -SEEN:]))
        if self.locked and self.context.stage is not None:
            seen = matched(seen, self.context.stage.still.numpy())
        about = self.context.about(Image.fromarray(seen[-1]), self.frames, self.number)
        reference = self._reference(seen, previous.shape[1]).to(previous.device)
        context = resumed(about, first, self.total, x)
        sigmas = context.sigmas()[skipped(context) :]
        _, release = context.clip.row.facts.follows(context.clip)
        denoiser = masked(context.approximated(sigmas), reference, torch.ones(1), release)
        return context.walk(denoiser, context.start(sigmas) + reference, sigmas)

    def _reference(self, seen: np.ndarray, done: int) -> Tensor:
        stage = self.context.stage
        if stage is not None and stage.choreography.camera is not None:
            device = stage.runtime.device
            shares = (torch.arange(self.frames, device=device) + done - 1) / stage.span
            pixels = torch.cat([stage.frames(flat(1, device), share[None]) for share in shares])
        else:
            frames = carried_on(seen, self.frames)
            pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.context.encode_frames(pixels)[None]


@dataclass(frozen=True)
class Between:
    """From the last frame there is, or ``first_still`` where there is none, to ``last_still``, in ``frames``."""

    context: SamplingContext
    number: int
    first_still: Image.Image
    last_still: Image.Image
    frames: int
    overlap: int = 1

    @property
    def total(self) -> int:
        return self.context.clip.num_inference_steps

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        ends = self._start(previous), self._latents(self.last_still)
        still = self.first_still if previous is None else self._picture(previous)
        forward = self.context.about(still, self.frames, 2 * self.number)
        backward = self.context.about(self.last_still, self.frames, 2 * self.number + 1)
        sigmas, start = forward.sigmas(), forward.start()
        threshold = DISTILLED_ABOVE * forward.clip.sigma_scale
        noise: Callable[[], Tensor] = lambda: gaussian(start.shape, forward.generator).to(start.device)  # noqa: E731
        x = start if x is None else x.to(start.device)
        return bridge(_pair(forward), _pair(backward), x, sigmas, noise, *ends, threshold=threshold, first=first)

    def _start(self, previous: Tensor | None) -> Tensor:
        return self._latents(self.first_still) if previous is None else previous[:, -1]

    def _picture(self, previous: Tensor) -> Image.Image:
        return Image.fromarray(to_frames(self.context.decode(previous[0, -1:]))[0])

    def _latents(self, still: Image.Image) -> Tensor:
        return self.context.encode(to_pixels([still]))


def skipped(context: SamplingContext) -> int:
    """Steps above the noise at which a clip that follows a plan everywhere is let go: they need no call."""
    return context.clip.first_step_below(context.clip.row.facts.follows(context.clip)[1])


def still_of(context: SamplingContext) -> Image.Image:
    """The clip's still, as its plan has it."""
    assert context.stage is not None, "the clip has a plan"
    return Image.fromarray(context.stage.still.numpy())


def resumed(context: SamplingContext, first: int, total: int, x: Tensor | None) -> SamplingContext:
    """``context`` after ``first`` of ``total`` steps, at ``x``."""
    return replace(context, resume=None if first == 0 or x is None else Step(first, total, x, x))


def _pair(context: SamplingContext) -> Pair:
    return context.pair() if context.clip.guided else unguided(context.conditional())
