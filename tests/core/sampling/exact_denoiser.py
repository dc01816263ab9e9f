"""A denoiser without a network: the exact posterior mean over a finite family of drawn clips.

For clips ``z_i`` that are equally likely, the mean of what ``x = z + sigma n`` was before the noise is known in closed form
(Karras et al. 2022, arXiv 2206.00364, appendix B.3): the mean of the ``z_i`` weighted by
``softmax((x.z_i - |z_i|^2 / 2) / sigma^2)``. A sampler that gets it wrong is wrong: there is no training to blame.

The clips show two sprites over a texture on a torus: what leaves a frame at one side comes back at the other. Latents are
the pixels themselves, one channel, ``SCALE`` times those in [-1, 1]: with that their deviation is near 1, as SVD's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from svd_ui.core.sampling.denoiser import Denoiser

SIGMA_MAX = 60.0
"""At this noise a drawn clip is as hidden as one of SVD's is at 700: nothing of its motion is seen."""
SIZE, FRAMES, SPRITE = (24, 40), 10, 7
SCALE = 2.0
SPEEDS = (-2, -1, 0, 1, 2)
VELOCITIES = torch.tensor([(y, x) for y in SPEEDS for x in SPEEDS])
"""``[25 2]``, pixels a frame, down then right."""
STARTS = ((3, 4), (14, 24))
"""Where the sprites' upper left corners are in the still, row then column."""


def svd(sigma: float) -> float:
    """The noise level of this family that stands for SVD's ``sigma``."""
    return sigma * SIGMA_MAX / 700


def sigmas_down(steps: int, least: float = 0.02, rho: float = 7) -> Tensor:
    """``[steps + 1]`` levels as EDM's table 1 spaces them, the last one 0."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (SIGMA_MAX ** (1 / rho) + ramp * (least ** (1 / rho) - SIGMA_MAX ** (1 / rho))) ** rho
    return torch.cat([levels, levels.new_zeros(1)]).float()


def smooth(values: Tensor) -> Tensor:
    """``[h w]`` with neighbours averaged around the torus, in [-1, 1]."""
    for axis in (0, 1):
        values = (values + values.roll(1, axis) + values.roll(-1, axis)) / 3
    return values / values.abs().max()


@dataclass(frozen=True)
class Layer:
    """A picture ``[h w]`` and where it covers what is below ``[h w]``, its corner at the origin."""

    colour: Tensor
    cover: Tensor

    def along(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns ``[N F 2]`` => colours and covers ``[N F h w]``."""
        places = [tuple(place) for place in paths.reshape(-1, 2).tolist()]
        drawn = {place: (self.colour.roll(place, (0, 1)), self.cover.roll(place, (0, 1))) for place in set(places)}
        shape = (*paths.shape[:2], *self.colour.shape)
        colours, covers = zip(*(drawn[place] for place in places), strict=True)
        return torch.stack(colours).reshape(shape), torch.stack(covers).reshape(shape)


@dataclass(frozen=True)
class Scene:
    """What the clips of a family are drawn from."""

    ground: Layer
    sprites: tuple[Layer, Layer]

    @classmethod
    def of(cls, seed: int = 0, size: tuple[int, int] = SIZE, sprite: int = SPRITE) -> Scene:
        """A texture of less than half contrast, and two sprites, a light and a dark one, with a pattern of their own."""
        generator = torch.Generator().manual_seed(seed)
        ground = Layer(0.4 * SCALE * smooth(torch.randn(size, generator=generator)), torch.ones(size))
        sprites = []
        for tone in (0.55, -0.55):
            cover = torch.zeros(size)
            cover[:sprite, :sprite] = 1
            pattern = tone + 0.45 * smooth(torch.randn(size, generator=generator))
            sprites.append(Layer(SCALE * pattern * cover, cover))
        return cls(ground, (sprites[0], sprites[1]))

    def with_one(self) -> Scene:
        """The same with the second sprite taken away."""
        nothing = torch.zeros_like(self.ground.colour)
        return Scene(self.ground, (self.sprites[0], Layer(nothing, nothing)))

    def clips(self, first: Tensor, second: Tensor, ground: Tensor | None = None) -> Tensor:
        """Paths ``[N F 2]`` of the two sprites, and of the ground => clips ``[N F 1 h w]``."""
        still = torch.zeros_like(first)
        frames, _ = self.ground.along(still if ground is None else ground)
        for layer, paths in zip(self.sprites, (first, second), strict=True):
            colours, covers = layer.along(paths)
            frames = frames * (1 - covers) + colours
        return frames[:, :, None]


def straight(start: Sequence[int] | Tensor, velocities: Tensor, frames: int = FRAMES) -> Tensor:
    """From ``start`` (row, column) with each of ``velocities`` ``[N 2]`` => paths ``[N F 2]``."""
    return torch.as_tensor(start) + velocities[:, None] * torch.arange(frames)[:, None]


def arcs(frames: int = FRAMES) -> Tensor:
    """``[20 F 2]``: 4 velocities, each with 5 arcs across it."""
    times = torch.linspace(0, 1, frames)[:, None]
    ways = [torch.tensor(way, dtype=torch.float32) for way in ((0, 2), (0, -2), (2, 0), (-2, 0))]
    across = [way.flip(0) / 2 for way in ways]
    heights = [height * 4 * times * (1 - times) for height in (-4, -2, 0, 2, 4)]
    paths = [
        way * times * (frames - 1) + aside * height
        for way, aside in zip(ways, across, strict=True)
        for height in heights
    ]
    return torch.stack(paths).round().long()


def each_with_each(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``[N ...]`` and ``[M ...]`` => ``[N M ...]`` of each as one axis."""
    return first.repeat_interleave(len(second), 0), second.repeat(len(first), *[1] * (second.dim() - 1))


@dataclass(frozen=True)
class Family:
    """Equally likely clips ``[N F 1 h w]`` and the paths of what moves in them ``[N 2 F 2]``."""

    clips: Tensor
    paths: Tensor

    @classmethod
    def moving(cls, scene: Scene, starts: Sequence[Sequence[int]] = STARTS, frames: int = FRAMES) -> Family:
        """The 625 clips that begin with the sprites at ``starts``: each of them has any of 25 velocities."""
        first, second = each_with_each(*(straight(start, VELOCITIES, frames) for start in starts))
        return cls(scene.clips(first, second), torch.stack([first, second], 1))

    @classmethod
    def arching(cls, scene: Scene, starts: Sequence[Sequence[int]] = STARTS, frames: int = FRAMES) -> Family:
        """400 clips, of 4 ways to go in 5 arcs each: there are several ways back from where one of them ends."""
        first, second = each_with_each(*(torch.as_tensor(start) + arcs(frames) for start in starts))
        return cls(scene.clips(first, second), torch.stack([first, second], 1))

    @classmethod
    def panning(cls, scene: Scene, start: Sequence[int] = STARTS[0], ground: Sequence[int] = (0, 0)) -> Family:
        """The 625 clips in which the camera pans with any of 25 velocities and the first sprite moves with any of its own.

        The second sprite is a part of the ground.
        """
        sprite, panned = each_with_each(straight(start, VELOCITIES), straight(ground, VELOCITIES))
        return cls(scene.clips(sprite, panned + torch.tensor(STARTS[1]), panned), torch.stack([sprite, panned], 1))

    @classmethod
    def together(cls, *families: Family) -> Family:
        """The clips of all of them: what is likely where nobody says which still a clip begins with."""
        return cls(torch.cat([one.clips for one in families]), torch.cat([one.paths for one in families]))

    def denoiser(self) -> Denoiser:
        """The posterior mean. In float64 the exponents are: they are differences of large numbers."""
        flat = self.clips.flatten(1)
        half = flat.double().square().sum(1) / 2

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            exponents = ((x.flatten(1) @ flat.T).double() - half) / sigma.double().square()
            return (exponents.softmax(1).float() @ flat).reshape(x.shape)

        return denoise

    def nearest(self, clip: Tensor) -> tuple[int, float]:
        """The member that ``clip`` ``[F 1 h w]`` is most like, and by how much it differs (root mean square)."""
        errors = (self.clips - clip).square().flatten(1).mean(1).sqrt()
        return int(errors.argmin()), float(errors.min())


def places(clip: Tensor, sprite: Layer) -> Tensor:
    """Where in each frame of ``[F 1 h w]`` the ``sprite`` fits best, whole pixels ``[F 2]``: no family is asked."""
    pattern, cover = torch.fft.fft2(sprite.colour).conj(), torch.fft.fft2(sprite.cover).conj()
    frames = clip[:, 0]
    error = torch.fft.ifft2(torch.fft.fft2(frames.square()) * cover - 2 * torch.fft.fft2(frames) * pattern).real
    best = error.flatten(1).argmin(1)
    return torch.stack([best // frames.shape[-1], best % frames.shape[-1]], 1)


def around(differences: Tensor, size: Sequence[int] = SIZE) -> Tensor:
    """Differences of places ``[... 2]`` by the shorter way around the torus."""
    period = torch.tensor(size)
    return (differences + period // 2) % period - period // 2


def step_ratio(clip: Tensor) -> float:
    """The largest mean difference between two neighbouring frames of ``[F 1 h w]``, in medians: how much a clip jumps."""
    steps = clip.diff(dim=0).abs().flatten(1).mean(1)
    return float(steps.max() / steps.median())


def unit_noise(generator: torch.Generator, frames: int = FRAMES) -> Tensor:
    """``[1 F 1 h w]``."""
    return torch.randn(1, frames, 1, *SIZE, generator=generator)


def uncovered(clip: Tensor, sprite: Layer) -> Tensor:
    """1 where the ``sprite`` is in none of the frames of ``clip`` ``[F 1 h w]``, nor beside it: ``[h w]``."""
    _, covers = sprite.along(places(clip, sprite)[None])
    seen = covers.amax((0, 1))
    for axis in (0, 1):
        seen = torch.maximum(seen, torch.maximum(seen.roll(1, axis), seen.roll(-1, axis)))
    return 1 - seen


def shift_of(frame: Tensor, still: Tensor, where: Tensor) -> float:
    """By how many pixels ``frame`` ``[h w]`` has moved from ``still`` where ``where`` is 1: Lucas-Kanade, some rounds of it."""
    size, total = torch.tensor(still.shape), torch.zeros(2)
    frequencies = [torch.fft.fftfreq(int(length)) for length in size]
    for _ in range(8):
        turn = -2j * torch.pi * (frequencies[0][:, None] * total[0] + frequencies[1] * total[1])
        moved = torch.fft.ifft2(torch.fft.fft2(still) * turn.exp()).real
        slopes = torch.stack([(moved.roll(-1, axis) - moved.roll(1, axis)) / 2 for axis in (0, 1)])[:, where > 0]
        left = (moved - frame)[where > 0]
        total = total + torch.linalg.solve(slopes @ slopes.T, slopes @ left)
    return float(total.norm())
