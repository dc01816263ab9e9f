"""Painted regions that move by themselves: pushed one way, or as water, leaves, clouds and smoke do, in whole cycles.

What flows is shown twice, half a cycle apart, and each fades while it jumps back (Heeger and Bergen's moving textures, as
games' flow maps have it; Vlachos 2010): so it flows one way for ever and the clip ends as it begins. The fading would take
away contrast; it is given back as far as the two differ (Heitz and Neyret 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .choreography import Picture, Scenery
from .inpainting import without
from .marks import Mask

Effect = Literal["water", "leaves", "clouds", "smoke"]
Floats = NDArray[np.float32]

TRAVEL = 0.05
"""Of the longer side: how far what is pushed comes over the clip, at a strength of 1."""
FEATHER = 0.02
"""Of the longer side: how far inside the paint's edge all of a flow is seen."""
AROUND = 0.04
"""Of the longer side: how far around a region its texture is continued; beyond, nothing is looked at."""
RAMP = 1.7
"""How many times as far as it moves what is pushed is held at its region's edge: less would fold."""


@dataclass(frozen=True)
class Behaviour:
    """How something moves. Lengths are shares of the longer side; what swings is 0 at the cycle's start.

    angle    degrees, where nobody says
    speed    of its flow, a second
    cycle    how far it flows, or for what only swings for how many seconds, until it starts anew
    swirl    how much its flow turns aside, as a share of it
    swing    how far it swings, and across waves of what length
    """

    angle: float
    speed: float
    cycle: float
    swirl: float = 0.0
    swing: float = 0.0
    wave: float = 0.1


BEHAVIOURS: dict[Effect, Behaviour] = {
    "water": Behaviour(0, speed=0.03, cycle=0.05, swirl=0.15, swing=0.002, wave=0.07),
    "leaves": Behaviour(0, speed=0, cycle=2.0, swing=0.007, wave=0.12),
    "clouds": Behaviour(0, speed=0.022, cycle=0.06, swirl=0.2, wave=0.3),
    "smoke": Behaviour(90, speed=0.035, cycle=0.06, swirl=0.6, swing=0.002, wave=0.12),
}


@dataclass(frozen=True)
class Region:
    """``mask`` [h w] is what moves, ``push`` [h w 2] which way (x and y, down is positive) and how much, 1 being usual."""

    mask: Mask
    push: Floats


def directions(angle: float, strength: float = 1.0) -> tuple[float, float]:
    """Degrees, 0 to the right and 90 up => x and y, down being positive."""
    return strength * math.cos(math.radians(angle)), -strength * math.sin(math.radians(angle))


def pushed(region: Region) -> Callable[[Picture], Scenery]:
    """The region's inside goes the way it is pushed, its edge stays: what lies between is drawn out and together."""
    return lambda picture: _Pushed(picture, region)


def flowing(region: Region, effect: Effect, seconds: float, closes: float, seed: int) -> Callable[[Picture], Scenery]:
    """The region moves as ``effect`` does in a clip of so many ``seconds``.

    ``closes`` is the share of the clip at which it is the still again: that of the frame that would come after the last.
    """
    return lambda picture: _Flowing(picture, region, BEHAVIOURS[effect], seconds, closes, seed)


def inwards(mask: Mask, reach: float) -> Mask:
    """0 outside ``mask`` [h w], rising to 1 at ``reach`` pixels inside it; the frame's edge is none of its edges."""
    import cv2

    inside = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    share = np.clip((inside - 1) / max(reach, 1.0), 0, 1)
    soft: Mask = (share * share * (3 - 2 * share)).astype(np.float32)
    return soft


def broad(mask: Mask) -> float:
    """How far inside ``mask`` one can be, in pixels."""
    import cv2

    deepest = float(cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5).max())
    return min(deepest, float(max(mask.shape)))


class _Window:
    """The part of a picture in which a region lies."""

    def __init__(self, picture: Picture, region: Region) -> None:
        import cv2

        self.picture = picture
        height, width = picture.shape[:2]
        self.longer = max(height, width)
        mask = cv2.resize(region.mask, (width, height), interpolation=cv2.INTER_LINEAR)
        rows, columns = np.flatnonzero((mask > 0.5).any(axis=1)), np.flatnonzero((mask > 0.5).any(axis=0))
        if not len(rows):
            rows = columns = np.zeros(1, int)
        self.rows, self.columns = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        self.mask: Mask = np.ascontiguousarray(mask)
        push = cv2.resize(region.push, (width, height), interpolation=cv2.INTER_LINEAR)
        self.push: Floats = np.ascontiguousarray(push[self.rows, self.columns])
        x, y = np.arange(self.columns.start, self.columns.stop), np.arange(self.rows.start, self.rows.stop)
        self.x, self.y = (part.astype(np.float32) for part in np.meshgrid(x, y))

    def of(self, values: Any) -> Any:
        return np.ascontiguousarray(values[self.rows, self.columns])

    def framed(self, part: Picture) -> Picture:
        frame = self.picture.copy()
        frame[self.rows, self.columns] = part
        return frame

    def look(self, picture: Picture, across: Floats, down: Floats) -> Picture:
        """What is there in the window of ``picture``, moved by so many pixels."""
        import cv2

        seen: Picture = cv2.remap(
            picture, self.x - across, self.y - down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        return seen


class _Pushed:
    def __init__(self, picture: Picture, region: Region) -> None:
        self._window = window = _Window(picture, region)
        most = float(np.abs(window.push).max()) or 1.0
        wanted = TRAVEL * most * window.longer
        reach = min(RAMP * wanted, 0.9 * broad(window.mask))
        share = min(1.0, reach / (RAMP * wanted)) * TRAVEL * window.longer
        held = window.of(inwards(window.mask, reach))
        self._across, self._down = (share * held * window.push[..., axis] for axis in (0, 1))

    def __call__(self, share: float) -> Picture:
        across, down = self._across * np.float32(share), self._down * np.float32(share)
        return self._window.framed(self._window.look(self._window.picture, across, down))


class _Flowing:
    def __init__(
        self, picture: Picture, region: Region, behaviour: Behaviour, seconds: float, closes: float, seed: int
    ) -> None:
        self._window = window = _Window(picture, region)
        rng = np.random.default_rng(seed)
        travel = behaviour.speed * seconds
        self._cycles = max(1, round(travel / behaviour.cycle if travel else seconds / behaviour.cycle))
        self._closes = closes
        self._source = self._inside(picture)
        feather = min(FEATHER * window.longer, 0.5 * broad(window.mask))
        self._share = window.of(inwards(window.mask, feather))
        self._shares = np.repeat(self._share[..., None], 3, axis=2)
        self._still = window.of(picture)
        wave = behaviour.wave * window.longer
        self._swings = [
            self._swing(rng, wave, behaviour.swing * window.longer, turns) for turns in (1, 2) if behaviour.swing
        ]
        self._flow = self._flows(rng, wave, behaviour, travel / self._cycles * window.longer) if travel else None
        self._alike = self._likeness() if travel else 1.0

    def __call__(self, share: float) -> Picture:
        import cv2

        cycles = self._cycles * share / self._closes
        off = cv2.subtract(self._seen(cycles), self._still, dtype=cv2.CV_16S)
        off = cv2.multiply(off, self._shares, dtype=cv2.CV_16S)
        return self._window.framed(cv2.add(self._still, off, dtype=cv2.CV_8U))

    def _seen(self, cycles: float) -> Picture:
        import cv2

        across, down = self._swung(cycles)
        if self._flow is None:
            return self._window.look(self._source, across, down)
        first, second = ((cycles + 0.5 + half) % 1.0 for half in (0.0, 0.5))
        weight = 1 - abs(2 * first - 1)
        weight = weight * weight * (3 - 2 * weight)
        one = self._phase(first, across, down)
        if weight == 1:
            return one
        both = cv2.addWeighted(one, weight, self._phase(second, across, down), 1 - weight, 0)
        return self._contrasted(both, weight)

    def _phase(self, at: float, across: Floats, down: Floats) -> Picture:
        assert self._flow is not None
        off = np.float32(at - 0.5)
        return self._window.look(self._source, across + off * self._flow[0], down + off * self._flow[1])

    def _contrasted(self, both: Picture, weight: float) -> Picture:
        """A mean of two pictures with the contrast of one: two that differ cancel out in part."""
        import cv2

        left = weight**2 + (1 - weight) ** 2 + 2 * self._alike * weight * (1 - weight)
        height, width = both.shape[:2]
        coarse = cv2.resize(both, (max(1, width // 16), max(1, height // 16)), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        gain = 1 / math.sqrt(left)
        seen: Picture = cv2.addWeighted(both, gain, smooth, 1 - gain, 0)
        return seen

    def _likeness(self) -> float:
        """How much what flows is like itself half a cycle on: 0 not at all, 1 is the same."""
        nil = np.zeros_like(self._share)
        details = []
        for at in (0.25, 0.75):
            seen = self._phase(at, nil, nil)
            details.append((seen - self._low(seen))[self._share > 0.5].ravel())
        one, other = details
        spread = math.sqrt(float((one * one).sum()) * float((other * other).sum()))
        return min(max(float((one * other).sum()) / spread, 0.0), 1.0) if spread > 0 else 1.0

    @staticmethod
    def _low(picture: Picture) -> Floats:
        import cv2

        height, width = picture.shape[:2]
        coarse = cv2.resize(picture, (max(1, width // 16), max(1, height // 16)), interpolation=cv2.INTER_AREA)
        smooth: Floats = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return smooth

    def _inside(self, picture: Picture) -> Picture:
        """The picture with the region's own texture where something else is: none of that is to flow in."""
        outside = (self._window.mask <= 0.5).astype(np.float32)
        if not outside.any():
            return picture
        beyond = math.ceil(AROUND * self._window.longer)
        rows, columns = (
            slice(max(0, part.start - beyond), part.stop + beyond) for part in (self._window.rows, self._window.columns)
        )
        around = np.ascontiguousarray(picture[rows, columns])
        found = picture.copy()
        found[rows, columns] = without(around, outside[rows, columns], grown=0)
        return np.where(outside[..., None] > 0, found, picture)

    def _flows(
        self, rng: np.random.Generator, wave: float, behaviour: Behaviour, travel: float
    ) -> tuple[Floats, Floats]:
        """How far each place goes in a cycle, x and y in pixels."""
        push = self._window.push
        much = np.hypot(push[..., 0], push[..., 1])
        swirl = _noise(rng, self._window, wave)
        across, down = np.gradient(swirl, axis=0), -np.gradient(swirl, axis=1)  # free of sources: nothing piles up
        turn = behaviour.swirl * much / max(float(np.hypot(across, down).std()) * 2, 1e-9)
        return travel * (push[..., 0] + turn * across), travel * (push[..., 1] + turn * down)

    def _swing(
        self, rng: np.random.Generator, wave: float, much: float, turns: int
    ) -> tuple[Floats, Floats, Floats, Floats, int]:
        """(x, y, sine, cosine, turns): how far each place swings each way, and where in its swing it begins."""
        phase = np.float32(3.0) * _noise(rng, self._window, 1.5 * wave / turns)
        far = (much / turns * (0.6 + 0.4 * np.tanh(_noise(rng, self._window, wave)))).astype(np.float32)
        aside = np.float32(0.35) * _noise(rng, self._window, wave).clip(-2, 2)
        x, y = self._window.push[..., 0], self._window.push[..., 1]
        hold = self._window.of(inwards(self._window.mask, 3 * much))
        far = far * hold
        return far * (x - aside * y), far * (y + aside * x), np.sin(phase), np.cos(phase), turns

    def _swung(self, cycles: float) -> tuple[Floats, Floats]:
        across = np.zeros_like(self._share)
        down = np.zeros_like(self._share)
        for x, y, sine, cosine, turns in self._swings:
            angle = 2 * math.pi * turns * cycles
            at = sine * np.float32(math.cos(angle) - 1) + cosine * np.float32(math.sin(angle))
            across += x * at
            down += y * at
        return across, down


def _noise(rng: np.random.Generator, window: _Window, wave: float) -> Floats:
    """In a window, smooth, of mean about 0 and variance about 1, with waves about so many pixels long: [h w].

    The same at any size of the picture.
    """
    import cv2

    height, width = window.picture.shape[:2]
    coarse = rng.standard_normal((math.ceil(2 * height / wave) + 4, math.ceil(2 * width / wave) + 4)).astype(np.float32)
    smooth = cv2.GaussianBlur(coarse, (0, 0), 0.8)
    scale = np.float32(2 / wave)
    found: Floats = cv2.remap(smooth, window.x * scale + 1, window.y * scale + 1, cv2.INTER_CUBIC)
    return found / max(float(smooth.std()), 1e-6)
