"""Long clips from segments, one after the other, as one run of steps.

Whatever is known of the run is in its last step: the latents are those of all finished segments and, at the end, those of the
one being made, and the index says which one that is. So it goes on after an error or a restart like any other clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from .samplers import Step


class Segment(Protocol):
    """One part of a chain.

    frames   how many it makes
    overlap  how many of these, at its head, are there already and are dropped when it is finished; 0 for the first segment
    total    how many steps it takes
    """

    @property
    def frames(self) -> int: ...
    @property
    def overlap(self) -> int: ...
    @property
    def total(self) -> int: ...

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        """The steps after the ``first``, from ``x`` ``[B frames C h w]``, or from a start of its own where ``first`` is 0.

        ``previous`` ``[B P C h w]`` are the latents of all finished segments, None for the first. Noise comes from a
        generator that no other segment draws from.
        """
        ...


@dataclass(frozen=True)
class Span:
    """Frames ``first`` to ``last``, both included, between two stills; ``ends`` is False where none is at the last."""

    first: int
    last: int
    ends: bool = True

    @property
    def frames(self) -> int:
        return self.last - self.first + 1


def spans(at: Sequence[int], frames: int) -> list[Span]:
    """Where segments lie in a clip of ``frames`` with stills at the frames ``at``: the first still is at frame 0.

    Neighbours share the frame of their still, so each segment but the first has an ``overlap`` of 1. What comes after the
    last still is open. Raises ValueError where ``at`` does not rise from 0 to at most the last frame.
    """
    if not at or at[0] != 0 or at[-1] >= frames or any(b <= a for a, b in pairwise(at)):
        raise ValueError(f"the stills' frames have to rise from 0 to at most {frames - 1}")
    closed = [Span(a, b) for a, b in pairwise(at)]
    return closed if at[-1] == frames - 1 else [*closed, Span(at[-1], frames - 1, ends=False)]


def chain(segments: Sequence[Segment], resume: Step | None = None) -> Iterator[Step]:
    """The steps of ``segments`` as one run; after ``resume``, any step of such a run, where that is given.

    A step's ``latents`` and ``denoised`` are ``[B F' C h w]``: the finished segments', without what overlaps, then all
    frames of the one being made. Its index counts over all segments, so that ``total`` is the sum of theirs.
    """
    total = sum(segment.total for segment in segments)
    at = 0 if resume is None else resume.index
    known = None if resume is None else resume.latents
    before = finished = 0
    for segment in segments:
        first = max(0, at - before)
        if first < segment.total:
            previous, x = _parted(known, finished, first)
            for step in segment.steps(previous, first, x):
                step = _joined(previous, step, segment.overlap if step.index == segment.total else 0)
                yield Step(before + step.index, total, step.latents, step.denoised)
                known = step.latents
        before += segment.total
        finished += segment.frames - segment.overlap


def _parted(latents: Tensor | None, finished: int, first: int) -> tuple[Tensor | None, Tensor | None]:
    """(of the finished segments, of the one being made), None where there are none."""
    if latents is None:
        return None, None
    return latents[:, :finished] if finished else None, latents[:, finished:] if first else None


def _joined(previous: Tensor | None, step: Step, dropped: int) -> Step:
    """``step`` of a segment, without its ``dropped`` first frames, after ``previous``."""
    parts = [part[:, dropped:] for part in (step.latents, step.denoised)]
    if previous is not None:
        parts = [torch.cat([previous.to(part), part], 1) for part in parts]
    return Step(step.index, step.total, *parts)
