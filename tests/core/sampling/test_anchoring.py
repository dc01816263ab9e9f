"""Clips held to known content where that is known, by a denoiser that is exact."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from svd_ui.catalog.families.svd import FOLLOWS_FROM, FOLLOWS_TO
from svd_ui.core.sampling.anchoring import masked
from svd_ui.core.sampling.denoiser import Denoiser
from svd_ui.core.sampling.samplers import euler, seeded

from .exact_denoiser import (
    FRAMES,
    SIGMA_MAX,
    SIZE,
    SPRITE,
    STARTS,
    Family,
    Scene,
    around,
    places,
    shift_of,
    sigmas_down,
    straight,
    svd,
    uncovered,
    unit_noise,
)

STEPS, SEEDS = 25, 4
PULL = 2.0
"""How firmly a drag is said."""


@lru_cache
def scene() -> Scene:
    return Scene.of()


@lru_cache
def family() -> Family:
    return Family.moving(scene())


def made(denoiser: Denoiser, seed: int, around_clip: Tensor | None = None, start: float = SIGMA_MAX) -> Tensor:
    """The clip ``[F 1 h w]`` of Euler's walk from noise of ``start``, around a clip where one is given."""
    sigmas = sigmas_down(STEPS)
    sigmas = torch.cat([torch.tensor([start]), sigmas[sigmas < start]])
    x = unit_noise(seeded(seed)) * sigmas[0] + (0 if around_clip is None else around_clip)
    *_, last = euler(denoiser, x, sigmas)
    return last.latents[0]


def speed(clip: Tensor, sprite: int) -> float:
    """Pixels a frame."""
    return float(around(places(clip, scene().sprites[sprite]).diff(dim=0)).float().norm(dim=1).mean())


def still() -> Tensor:
    return family().clips[:1, :1].expand(1, FRAMES, 1, *SIZE)


def box(rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """``[h w]``, 0 inside and 1 outside: everything but the box is held."""
    keep = torch.ones(SIZE)
    keep[slice(*rows), slice(*columns)] = 0
    return keep


def test_a_lock_holds_the_ground_and_lets_the_sprite_go() -> None:
    """Without it the camera goes where it likes; what is freed is a box that the sprite may cross."""
    panning = Family.panning(scene())
    denoiser, keep = panning.denoiser(), box((0, 14), (0, 20))
    locked = masked(denoiser, panning.clips[:1, :1].expand_as(still()), keep, svd(FOLLOWS_TO))
    rows = []
    for seed in range(SEEDS):
        for one in (denoiser, locked):
            clip = made(one, seed)
            where = uncovered(clip, scene().sprites[0])
            ground = max(shift_of(frame, clip[0, 0], where) for frame in clip[1:, 0])
            rows.append((ground, speed(clip, 0)))
    free, lock = rows[::2], rows[1::2]
    for way, figures in (("free", free), ("lock", lock)):
        print(
            f"{way}: ground moved (px) {[f'{a:.3f}' for a, _ in figures]}, sprite (px/frame) {[f'{b:.2f}' for _, b in figures]}"
        )
    assert max(ground for ground, _ in lock) <= 0.05 and min(ground for ground, _ in free) > 0.5
    assert sum(moving for _, moving in lock) >= 0.5 * sum(moving for _, moving in free)


def dragged(velocity: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The first sprite's path ``[F 2]``, a crude clip of it with all else at rest, and where that is specified."""
    path = straight(STARTS[0], torch.tensor([velocity]))
    rest = straight(STARTS[1], torch.tensor([(0, 0)]))
    _, keep = scene().sprites[0].along(path)
    return path[0], scene().clips(path, rest), keep[0][:, None]


DRAGS = ((0, 2), (1, 1), (0, -1), (2, 0))


def drag(start: float, seed: int, pull: float = PULL) -> tuple[float, float]:
    """(pixels off at the end, pixels a frame of the other sprite)."""
    path, reference, keep = dragged(DRAGS[seed % len(DRAGS)])
    clip = made(masked(family().denoiser(), reference, keep, svd(FOLLOWS_TO), pull), seed, reference, start)
    off = around(places(clip, scene().sprites[0])[-1] - path[-1]).float().norm()
    return float(off), speed(clip, 1)


def drags(way: str, start: float, pull: float = PULL) -> tuple[list[float], float, int]:
    """(pixels off at the end of each, mean speed of the other sprite, how often it is at rest), printed."""
    figures = [drag(start, seed, pull) for seed in range(2 * SEEDS)]
    off, other = [one for one, _ in figures], [one for _, one in figures]
    print(
        f"{way}: end off (px) {[round(one, 1) for one in off]}, other sprite (px/frame) {[round(one, 1) for one in other]}"
    )
    return off, sum(other) / len(other), other.count(0)


def test_a_drag_ends_where_it_is_told_and_the_rest_lives_or_stays() -> None:
    free = sum(speed(made(family().denoiser(), seed), 1) for seed in range(2 * SEEDS)) / (2 * SEEDS)
    lives, moving, _ = drags(f"rest lives (free {free:.2f})", SIGMA_MAX)
    stays, staying, resting = drags("rest stays", svd(FOLLOWS_FROM))
    assert max(lives + stays) <= 1
    assert moving >= 0.5 * free and staying <= 0.3 * free and resting >= SEEDS


def test_without_pull_some_drags_end_elsewhere() -> None:
    """What is not held has settled on another motion by then."""
    off, *_ = drags("Time-to-Move, rest lives", SIGMA_MAX, pull=1)
    assert max(off) > 1 and sum(one <= 1 for one in off) >= SEEDS


def test_the_rest_stays_for_certain_where_it_is_held_too() -> None:
    path, reference, keep = dragged(DRAGS[1])
    keep = torch.maximum(keep, scene().sprites[1].along(straight(STARTS[1], torch.tensor([(0, 0)])))[1][0][:, None])
    for seed in range(SEEDS):
        clip = made(masked(family().denoiser(), reference, keep, svd(FOLLOWS_TO), PULL), seed)
        assert torch.equal(places(clip, scene().sprites[0]), path) and speed(clip, 1) == 0


def test_a_pull_is_only_where_it_is_taken_back() -> None:
    with pytest.raises(ValueError, match="released"):
        masked(family().denoiser(), still(), torch.ones(1), release=0, pull=2)


def test_an_undragged_sprite_goes_elsewhere() -> None:
    """The baseline: nothing in the family ends there by itself."""
    off = [
        around(places(made(family().denoiser(), seed), scene().sprites[0])[-1] - dragged(DRAGS[seed])[0][-1])
        for seed in range(SEEDS)
    ]
    assert sum(float(one.float().norm()) > 1 for one in off) >= 3


def test_what_is_not_brushed_stays_to_the_bit_and_the_rest_moves() -> None:
    keep, speeds = box((0, 24), (0, 20)), []
    for seed in range(SEEDS):
        clip = made(masked(family().denoiser(), still(), keep, release=0), seed)
        assert torch.equal(clip * keep, still()[0] * keep)
        speeds.append((speed(clip, 0), speed(made(family().denoiser(), seed), 0)))
    print("brushed sprite, free one (px/frame):", [(round(a, 2), round(b, 2)) for a, b in speeds])
    assert sum(a for a, _ in speeds) >= 0.5 * sum(b for _, b in speeds)


def test_with_nothing_held_it_is_the_plain_clip_to_the_bit() -> None:
    plain = family().denoiser()
    assert torch.equal(made(masked(plain, still(), torch.zeros(SIZE), release=0), 1), made(plain, 1))


@pytest.mark.parametrize("shape", [(FRAMES, 1, 1, 1), (1, FRAMES, 1, *SIZE), SIZE, (1,)])
def test_where_all_is_held_the_model_is_not_asked(shape: tuple[int, ...]) -> None:
    def never(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError

    assert torch.equal(made(masked(never, still(), torch.ones(shape), release=0), 1), still()[0])


@pytest.mark.parametrize("release", [0.0, 1.0, svd(FOLLOWS_TO), 100.0])
def test_holding_ends_at_its_sigma(release: float) -> None:
    """Above it the estimate is the known content, below it the model's own; the calls are those foretold."""
    called: list[float] = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        called.append(float(sigma))
        return family().denoiser()(x, sigma)

    everything, sigmas, strange = torch.ones(1), sigmas_down(6), unit_noise(seeded(9))
    denoiser = masked(counted, strange, everything, release)
    for step, sigma in zip(euler(denoiser, unit_noise(seeded(2)) * SIGMA_MAX, sigmas), sigmas, strict=False):
        assert torch.equal(step.denoised, strange) == (float(sigma) >= release)
    assert all(sigma < release for sigma in called)
    assert len(called) == sum(float(sigma) < release for sigma in sigmas[:-1])


def test_it_is_noising_the_known_content_anew() -> None:
    """Time-to-Move's own way: after each step, the reference with the noise the clip began with."""
    path, reference, keep = dragged((0, 2))
    noise, sigmas, release = unit_noise(seeded(5)), sigmas_down(STEPS), svd(FOLLOWS_TO)
    x, plain = reference + SIGMA_MAX * noise, family().denoiser()
    ours = [step.latents for step in euler(masked(plain, reference, keep, release), x, sigmas)]
    for index, sigma in enumerate(sigmas[:-1]):
        x = plain(x, sigma) + sigmas[index + 1] / sigma * (x - plain(x, sigma))
        if sigma >= release:
            x = torch.lerp(x, reference + sigmas[index + 1] * noise, keep)
        torch.testing.assert_close(ours[index], x, atol=1e-4, rtol=1e-4)
    assert path.shape == (FRAMES, 2) and SPRITE < SIZE[0]
