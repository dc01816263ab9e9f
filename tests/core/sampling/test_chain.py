"""Long clips from segments: they go on from any step, close into loops, pass through stills, and keep their motion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from svd_ui.catalog.families.svd import FOLLOWS_TO
from svd_ui.core.sampling.anchoring import masked
from svd_ui.core.sampling.bridge import DISTILLED_ABOVE, bridge, unguided
from svd_ui.core.sampling.chain import Segment, Span, chain, spans
from svd_ui.core.sampling.samplers import Step, euler, seeded
from svd_ui.steering.carry_on import carried_on

from .exact_denoiser import (
    FRAMES,
    SCALE,
    SIGMA_MAX,
    SIZE,
    STARTS,
    Family,
    Scene,
    around,
    places,
    sigmas_down,
    step_ratio,
    svd,
    unit_noise,
)

STEPS = 12


@lru_cache
def scene() -> Scene:
    return Scene.of()


@lru_cache
def family() -> Family:
    return Family.moving(scene())


@lru_cache
def arching() -> Family:
    return Family.arching(scene())


def where(frame: Tensor) -> list[list[int]]:
    """The sprites' places in ``[1 h w]``."""
    return [places(frame[None], sprite)[0].tolist() for sprite in scene().sprites]


@dataclass
class Open:
    """A segment from the last frame there is, or from the still: where it goes is its noise's choice.

    With ``carrying`` it is held at high noise to how the frames before would go on.
    """

    seed: int
    families: Callable[[Sequence[Sequence[int]]], Family]
    carrying: bool = False
    overlap: int = 1
    frames: int = FRAMES
    total: int = STEPS
    finding: Callable[[Tensor], Sequence[Sequence[int]]] = where

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        starts = STARTS if previous is None else self.finding(previous[0, -1])
        denoiser = self.families(starts).denoiser()
        noise = unit_noise(seeded(self.seed)) * SIGMA_MAX
        if self.carrying and previous is not None:
            reference = carried(previous[0, -2:], self.frames)
            denoiser = masked(denoiser, reference[None], torch.ones(1), svd(FOLLOWS_TO))
            noise = noise + reference
        return euler(denoiser, noise if x is None else x, sigmas_down(self.total), first)


@dataclass
class Closing:
    """A segment from the last frame there is, or from a still, to ``end`` ``[1 h w]``."""

    seed: int
    families: Callable[[Sequence[Sequence[int]]], Family]
    end: Tensor
    start: Tensor | None = None
    overlap: int = 1
    frames: int = FRAMES
    total: int = STEPS

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        start = self.start if previous is None else previous[0, -1]
        assert start is not None
        forward, backward = (unguided(self.families(where(one)).denoiser()) for one in (start, self.end))
        generator, threshold = seeded(self.seed), svd(DISTILLED_ABOVE)
        begun = unit_noise(generator) * SIGMA_MAX
        return bridge(
            forward,
            backward,
            begun if x is None else x,
            sigmas_down(self.total),
            lambda: unit_noise(generator),
            start[None],
            self.end[None],
            threshold,
            first=first,
        )


def carried(latents: Tensor, frames: int, larger: int = 4) -> Tensor:
    """The flow's reference from ``[K 1 h w]`` => ``[F 1 h w]``.

    Its pixels are ``larger`` ones, as a decoder's are, and as the world is a torus there is the frame again around it.
    """
    import cv2

    margin = 2 * (FRAMES - 1)
    grey = ((latents[:, 0] / SCALE + 1) * 127.5).clamp(0, 255).round().byte().numpy()
    wrapped = np.pad(grey, ((0, 0), (margin, margin), (margin, margin)), "wrap")
    pictures = [cv2.resize(one, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC) for one in wrapped]
    after = carried_on(np.stack(pictures)[..., None].repeat(3, -1), frames)[..., 0]
    small = [cv2.resize(one, wrapped.shape[:0:-1], interpolation=cv2.INTER_AREA) for one in after]
    inner = np.stack(small)[:, margin:-margin, margin:-margin]
    return (torch.from_numpy(inner).float() / 127.5 - 1)[:, None] * SCALE


def final(segments: Sequence[Segment]) -> Tensor:
    """The finished clip ``[F 1 h w]``."""
    *_, last = chain(segments)
    assert last.index == last.total == sum(segment.total for segment in segments)
    return last.latents[0]


# A chain as a run of steps.


@dataclass
class Counting:
    """Frames that say what was known when they were made; needs no denoiser."""

    frames: int
    overlap: int
    total: int
    seed: int

    def steps(self, previous: Tensor | None, first: int, x: Tensor | None) -> Iterator[Step]:
        before = 0 if previous is None else float(previous.sum())
        if x is None:
            x = torch.randn(1, self.frames, 1, 2, 2, generator=seeded(self.seed)) + before
        for index in range(first, self.total):
            x = 0.9 * x + before / (index + 1)
            yield Step(index + 1, self.total, x, -x)


THREE = (Counting(5, 0, 3, 1), Counting(4, 1, 2, 2), Counting(6, 2, 4, 3))


def test_a_chain_goes_on_from_any_of_its_steps_to_the_same_clip_to_the_bit() -> None:
    whole = list(chain(THREE))
    for at, step in enumerate(whole):
        rest = list(chain(THREE, Step(step.index, step.total, step.latents.clone(), step.denoised)))
        assert [one.index for one in rest] == [one.index for one in whole[at + 1 :]]
        assert all(torch.equal(a.latents, b.latents) for a, b in zip(rest, whole[at + 1 :], strict=True))


def test_a_chains_steps_count_over_all_segments_and_show_what_is_there() -> None:
    whole = list(chain(THREE))
    assert [step.index for step in whole] == list(range(1, 10)) and {step.total for step in whole} == {9}
    assert [step.latents.shape[1] for step in whole] == [5, 5, 5, 9, 8, 14, 14, 14, 12]
    assert all(step.denoised.shape == step.latents.shape for step in whole)
    assert torch.equal(whole[3].denoised[:, :5], whole[2].latents)


def test_a_real_chain_goes_on_from_any_step_too() -> None:
    parts = (
        Open(1, family_at, overlap=0, total=2),
        Open(2, family_at, carrying=True, total=2),
        Closing(3, family_at, home(), total=2),
    )
    whole = list(chain(parts))
    for step in whole[:-1]:
        *_, last = chain(parts, step)
        assert torch.equal(last.latents, whole[-1].latents)


def family_at(starts: Sequence[Sequence[int]]) -> Family:
    return _family_at(tuple((row, column) for row, column in starts))


@lru_cache(maxsize=8)
def _family_at(starts: tuple[tuple[int, int], ...]) -> Family:
    return Family.moving(scene(), starts)


def arching_at(starts: Sequence[Sequence[int]]) -> Family:
    return Family.arching(scene(), starts)


def home() -> Tensor:
    """The still ``[1 h w]``."""
    return family().clips[0, 0]


# A loop.


def test_a_chain_and_a_bridge_close_into_a_loop_that_is_no_palindrome() -> None:
    for seed in range(4):
        clip = final((Open(seed, arching_at, overlap=0), Closing(50 + seed, arching_at, home())))
        assert torch.equal(clip[-1], home())
        loop = clip[:-1]
        closed = torch.cat([loop, loop[:1]])
        ratio, index = step_ratio(closed), palindrome_index(loop)
        print(f"loop of {len(loop)} frames: max/median step {ratio:.2f}, unlike its own reverse {index:.2f}")
        assert len(loop) == 2 * FRAMES - 2 and ratio <= 1.5 and index >= 0.1
        assert palindrome_index(torch.cat([clip[:FRAMES], clip[:FRAMES].flip(0)[1:-1]])) < 0.01


def palindrome_index(loop: Tensor) -> float:
    """How unlike a loop ``[F 1 h w]`` is to itself backwards, in mean differences of its frames: 0 there and back."""
    backwards = loop.roll(-1, 0).flip(0)
    unlike = [(one - two).abs().mean() for one, two in zip(loop, backwards, strict=True)]
    any_two = [(one - two).abs().mean() for one, two in itertools.combinations(loop, 2)]
    return float(torch.stack(unlike).mean() / torch.stack(any_two).mean())


# Stills on the way.


def test_a_clip_passes_through_four_stills() -> None:
    """Bridges between neighbours; each still is there once, to the bit, and the clip jumps nowhere."""
    at = [0, FRAMES - 1, 2 * FRAMES - 2, 3 * FRAMES - 3]
    stills, starts = [home()], [list(one) for one in STARTS]
    for chosen in (131, 420, 77):  # three clips of the family, one from where the other ended
        one = family_at(starts)
        stills.append(one.clips[chosen, -1])
        starts = one.paths[chosen, :, -1].remainder(torch.tensor(SIZE)).tolist()
    laid = spans(at, 3 * FRAMES - 2)
    parts = [
        Closing(seed, family_at, stills[seed + 1], stills[0], overlap=min(seed, 1), frames=span.frames)
        for seed, span in enumerate(laid)
    ]
    clip = final(parts)
    print(f"four stills: {len(clip)} frames, max/median step {step_ratio(clip):.2f}")
    assert len(clip) == 3 * FRAMES - 2
    assert all(torch.equal(clip[frame], still) for frame, still in zip(at, stills, strict=True))
    assert max(step_ratio(clip[a : b + 1]) for a, b in itertools.pairwise(at)) <= 1.5


def test_spans_lie_between_neighbouring_stills_and_after_the_last() -> None:
    assert spans([0, 8, 24], 25) == [Span(0, 8), Span(8, 24)]
    assert spans([0, 8], 25) == [Span(0, 8), Span(8, 24, ends=False)]
    assert spans([0], 25) == [Span(0, 24, ends=False)]
    assert sum(span.frames for span in spans([0, 8, 16], 25)) - 2 == 25


@pytest.mark.parametrize("at", [[], [1, 5], [0, 25], [0, 5, 5], [0, 9, 4]])
def test_stills_that_lie_nowhere_are_refused(at: list[int]) -> None:
    with pytest.raises(ValueError, match="rise from 0"):
        spans(at, 25)


# Longer clips.


def tracked() -> Scene:
    """A sprite that goes its way under a camera that goes its own: they cannot hide each other for long."""
    return scene().with_one()


def sprite_and_ground(frame: Tensor) -> list[list[int]]:
    """The places of both in ``[1 h w]``."""
    return [places(frame[None], layer)[0].tolist() for layer in (tracked().sprites[0], tracked().ground)]


def panning_at(starts: Sequence[Sequence[int]]) -> Family:
    sprite, ground = ((3, 4), (0, 0)) if starts is STARTS else starts
    return Family.panning(tracked(), sprite, ground)


def seam_cosines(clip: Tensor, segments: int) -> list[float]:
    """How alike sprite and ground move before and after each seam: the cosine of both velocities together."""
    moves = [velocities(clip[first : first + FRAMES]) for first in range(0, segments * (FRAMES - 1), FRAMES - 1)]
    return [float(torch.nn.functional.cosine_similarity(a, b, dim=0)) for a, b in itertools.pairwise(moves)]


def velocities(clip: Tensor) -> Tensor:
    """Pixels a frame of sprite and ground, ``[4]``."""
    layers = (tracked().sprites[0], tracked().ground)
    return torch.cat([around(places(clip, layer).diff(dim=0)).float().mean(0) for layer in layers])


def extended(seed: int, carrying: bool, segments: int = 8) -> list[float]:
    parts = [
        Open(100 * seed + part, panning_at, carrying, overlap=min(part, 1), finding=sprite_and_ground)
        for part in range(segments)
    ]
    return seam_cosines(final(parts), segments)


def test_eight_segments_keep_their_motion_where_it_is_carried_on() -> None:
    carried_over = extended(3, carrying=True)
    naive = extended(1, carrying=False, segments=5)
    for way, cosines in (("carry-on", carried_over), ("naive", naive)):
        print(f"{way}: seam cosine mean {sum(cosines) / len(cosines):.2f}, worst {min(cosines):.2f}")
    assert sum(carried_over) / len(carried_over) >= 0.95 and min(carried_over) >= 0.9
    assert sum(naive) / len(naive) < 0.5
