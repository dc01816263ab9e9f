"""Clips from one still to another, by a denoiser that is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from svd_ui.core.sampling.anchoring import masked
from svd_ui.core.sampling.bridge import DISTILLED_ABOVE, bridge, flipped, unguided
from svd_ui.core.sampling.denoiser import Denoiser, Pair, guided
from svd_ui.core.sampling.samplers import euler, seeded
from svd_ui.methods import BRIDGE_CALLS

from .exact_denoiser import (
    FRAMES,
    SIGMA_MAX,
    STARTS,
    Family,
    Scene,
    sigmas_down,
    step_ratio,
    svd,
    unit_noise,
)

SAME = 0.04
"""Root mean square by which a clip may differ from the one it is taken for."""


@dataclass(frozen=True)
class Case:
    """A clip of the family, of which only the ends are told."""

    target: Tensor
    generator: torch.Generator
    forward: Denoiser
    backward: Denoiser

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        return self.target[None, 0], self.target[None, -1]

    def noise(self) -> Tensor:
        return unit_noise(self.generator)

    def good(self, clip: Tensor) -> bool:
        """Only one clip of the family has these ends: it is that one, and it does not jump."""
        return float((clip - self.target).square().mean().sqrt()) < SAME and step_ratio(clip) <= 1.5


@lru_cache
def scene() -> Scene:
    return Scene.of()


@lru_cache
def family() -> Family:
    return Family.moving(scene())


def ended(paths: Tensor) -> Denoiser:
    """What is likely of a clip seen backwards that begins where ``paths`` ``[2 F 2]`` end."""
    return Family.moving(scene(), paths[:, -1].tolist()).denoiser()


@lru_cache(maxsize=16)
def case(seed: int) -> tuple[int, Denoiser]:
    chosen = int(torch.randint(len(family().clips), (1,), generator=seeded(seed)))
    return chosen, ended(family().paths[chosen])


def cases(count: int = 8) -> list[Case]:
    forward = family().denoiser()
    found = ((seed, *case(seed)) for seed in range(count))
    return [Case(family().clips[chosen], seeded(100 + seed), forward, back) for seed, chosen, back in found]


def bridged(
    one: Case, steps: int, forward: Pair | None = None, backward: Pair | None = None, **options: float
) -> Tensor:
    sigmas = sigmas_down(steps)
    options = {"threshold": svd(DISTILLED_ABOVE), **options}
    pairs = forward or unguided(one.forward), backward or unguided(one.backward)
    *_, last = bridge(*pairs, one.noise() * SIGMA_MAX, sigmas, one.noise, *one.ends, **options)
    return last.latents[0]


def held(one: Case, steps: int) -> Tensor:
    """The plain clip with its last frame replaced at every step."""
    keep = torch.zeros(FRAMES, 1, 1, 1)
    keep[-1] = 1
    denoiser = masked(one.forward, one.target[None, -1:].expand(1, FRAMES, -1, -1, -1), keep, release=0)
    *_, last = euler(denoiser, one.noise() * SIGMA_MAX, sigmas_down(steps))
    return last.latents[0]


def told(way: str, steps: int, make: Callable[[Case], Tensor], count: int = 8) -> tuple[int, float]:
    """(good clips, worst ratio) of ``make``, printed."""
    made = [(one.good(clip), step_ratio(clip)) for one in cases(count) for clip in [make(one)]]
    good, worst = sum(fine for fine, _ in made), max(ratio for _, ratio in made)
    print(f"{way:34}{steps:3} steps   good {good}/{count}   worst max/median step {worst:.2f}")
    return good, worst


@pytest.mark.parametrize("steps", [12, 25])
def test_eight_of_eight_clips_end_at_their_end(steps: int) -> None:
    good, worst = told("bridge", steps, lambda one: bridged(one, steps))
    assert good == 8 and worst <= 1.5


def test_holding_the_last_frame_alone_ends_in_a_jump() -> None:
    good, worst = told("hold the last frame", 12, lambda one: held(one, 12))
    assert good <= 1 and worst > 2


def test_the_pull_on_the_last_frame_is_what_makes_them_all_end_there() -> None:
    without, _ = told("bridge without pull", 12, lambda one: bridged(one, 12, pull=1))
    vibid, _ = told("ViBiD alone", 12, lambda one: bridged(one, 12, threshold=torch.inf))
    assert max(without, vibid) <= 6


def test_guidance_does_not_lose_the_end() -> None:
    """The unconditional estimate knows clips from other stills too; moderate guidance leaves the clips good."""
    others = [Family.moving(scene(), ((9, 30), (2, 12)))]

    def pairs(one: Case, scale: float | None) -> tuple[Pair, Pair]:
        both = []
        for conditional in (one.forward, one.backward):
            own = family() if conditional is one.forward else Family.moving(scene(), _last_places(one))
            without = Family.together(own, *others).denoiser()

            def pair(
                x: Tensor, sigma: Tensor, c: Denoiser = conditional, u: Denoiser = without
            ) -> tuple[Tensor, Tensor]:
                return c(x, sigma), u(x, sigma)

            scales = torch.linspace(1, scale or 1, FRAMES)
            both.append(pair if scale is None else unguided(guided(pair, scales)))
        return both[0], both[1]

    plus, _ = told("bridge, CFG++", 12, lambda one: bridged(one, 12, *pairs(one, None)), 3)
    plain, _ = told("bridge, guidance 1 to 2", 12, lambda one: bridged(one, 12, *pairs(one, 2.0)), 3)
    assert plus == plain == 3


def _last_places(one: Case) -> list[list[int]]:
    chosen, _ = family().nearest(one.target)
    return family().paths[chosen, :, -1].tolist()


def test_a_bridge_begins_and_ends_with_the_stills_to_the_bit() -> None:
    one = cases(1)[0]
    clip = bridged(one, 4)
    assert torch.equal(clip[0], one.target[0]) and torch.equal(clip[-1], one.target[-1])


@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_bridge_goes_on_from_any_step_as_if_nothing_had_been(first: int) -> None:
    one, sigmas = cases(1)[0], sigmas_down(6)
    pairs = unguided(one.forward), unguided(one.backward)

    def walk(x: Tensor, generator: torch.Generator, first: int = 0) -> list[Tensor]:
        steps = bridge(
            *pairs, x, sigmas, lambda: unit_noise(generator), *one.ends, threshold=svd(DISTILLED_ABOVE), first=first
        )
        return [step.latents for step in steps]

    whole = walk(unit_noise(seeded(3)) * SIGMA_MAX, seeded(4))
    rest = walk(whole[first - 1], seeded(4), first)
    assert len(rest) == 6 - first and torch.equal(rest[-1], whole[-1])


@pytest.mark.parametrize("steps", [1, 2, 12, 25])
def test_the_calls_of_a_bridge_are_foretold(steps: int) -> None:
    one, called = cases(1)[0], []

    def counted(denoiser: Denoiser) -> Pair:
        return unguided(lambda x, sigma: called.append(1) or denoiser(x, sigma))

    bridged(one, steps, counted(one.forward), counted(one.backward))
    assert len(called) == BRIDGE_CALLS * steps <= 2.5 * steps


def test_reversing_time_twice_changes_nothing() -> None:
    x = unit_noise(seeded(0))
    assert torch.equal(flipped(flipped(x)), x) and not torch.equal(flipped(x), x)


def test_a_family_may_reverse_time_in_a_way_of_its_own() -> None:
    one, seen = cases(1)[0], []

    def reverse(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return -x.flip(1)

    negated = unguided(lambda x, sigma: -one.backward(-x, sigma))
    sigmas = sigmas_down(3)
    plain = [*bridge(unguided(one.forward), unguided(one.backward), _start(), sigmas, _noise(), *one.ends)]
    own = [*bridge(unguided(one.forward), negated, _start(), sigmas, _noise(), *one.ends, reversed=reverse)]
    assert seen and torch.equal(plain[-1].latents, own[-1].latents)


def _start() -> Tensor:
    return unit_noise(seeded(7)) * SIGMA_MAX


def _noise() -> Callable[[], Tensor]:
    generator = seeded(8)
    return lambda: unit_noise(generator)


def test_a_bridge_of_one_frame_is_refused() -> None:
    still = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="two ends"):
        next(
            bridge(
                unguided(_same), unguided(_same), still[:, None], sigmas_down(2), lambda: still[:, None], still, still
            )
        )


def _same(x: Tensor, sigma: Tensor) -> Tensor:
    return x


def test_the_stills_of_the_family_are_those_it_was_asked_for() -> None:
    """The instrument itself: every clip begins with the same still, and no two end alike."""
    clips = family().clips
    assert (clips[:, 0] == clips[0, 0]).all() and len(STARTS) == 2
    assert len({clip.numpy().tobytes() for clip in clips[:, -1]}) == len(clips)
