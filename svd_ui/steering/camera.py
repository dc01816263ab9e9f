"""A camera's path over a still: keyframes, easing, a hand's tremor; and the words it is written in.

``zoom=1.2,pan=-0.1`` is where the camera is in the end. ``0.5:zoom=1.2; 1:zoom=1`` are keyframes, at shares of the clip.
``push in`` is a move by name, ``push in*2`` twice as much of it. ``ease=linear`` and ``handheld=0.5`` may stand anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .marks import number

Ease = Literal["in-out", "in", "out", "linear"]
Floats = NDArray[np.float64]

MOST_KEYS = 16
TREMOR = 0.004
"""Of the frame's width: how far a hand trembles at ``handheld=1``, root mean square."""
TREMOR_HERTZ = (0.31, 0.53, 0.97, 1.61, 2.3)
"""How fast; slower swings are wider, as a body's are."""
LIMITS: Mapping[str, tuple[float, float]] = {
    "pan": (-0.5, 0.5), "tilt": (-0.5, 0.5), "zoom": (0.5, 4.0), "roll": (-45.0, 45.0),
    "dolly": (0.5, 2.0), "arc": (-0.5, 0.5), "orbit": (-0.2, 0.2),
}  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """Where the camera is, against the still.

    pan     shares of the frame's width it has moved to the right
    tilt    shares of the frame's height it has moved up
    zoom    how much larger everything is
    roll    degrees the picture has turned clockwise
    dolly   how much larger what is near is; what is far stays
    arc     shares of the frame's width by which what is nearest has moved against what is farthest
    orbit   radius of a circle that is gone round once over the clip, in shares of the width: it ends where it began
    """

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0
    dolly: float = 1.0
    arc: float = 0.0
    orbit: float = 0.0


NAMES = tuple(field.name for field in fields(Pose))
REST = Pose()
MOVES: Mapping[str, Pose] = {
    "push in": Pose(zoom=1.15),
    "pull out": Pose(zoom=0.87),
    "pan left": Pose(pan=-0.1),
    "pan right": Pose(pan=0.1),
    "tilt up": Pose(tilt=0.1),
    "tilt down": Pose(tilt=-0.1),
    "roll left": Pose(roll=-6.0),
    "roll right": Pose(roll=6.0),
    "dolly in": Pose(dolly=1.2, zoom=1.06),
    "dolly out": Pose(dolly=0.85, zoom=0.95),
    "arc left": Pose(arc=-0.08),
    "arc right": Pose(arc=0.08),
    "orbit": Pose(orbit=0.02),
    "vertigo": Pose(dolly=1.3, zoom=0.88),
}
"""Moves by name, as far as they go at a strength of 1."""


@dataclass(frozen=True)
class CameraPath:
    """``keys`` are (share of the clip, pose), rising; at 0 the camera is at rest. ``handheld`` is 0 to 1."""

    keys: tuple[tuple[float, Pose], ...] = ()
    ease: Ease = "in-out"
    handheld: float = 0.0

    @classmethod
    def to(cls, pose: Pose, ease: Ease = "in-out", handheld: float = 0.0) -> CameraPath:
        """From rest to ``pose`` over the whole clip."""
        return cls(((1.0, pose),) if pose != REST else (), ease, handheld)

    @property
    def still(self) -> bool:
        """Whether it does not move at all."""
        return self.handheld == 0 and all(pose == REST for _, pose in self.keys)

    def poses(self, times: Sequence[float], seconds: float, seed: int = 0, aspect: float = 16 / 9) -> Floats:
        """By time, a share of a clip of ``seconds``, the values of ``NAMES``: ``[N 7]``. Zoom and dolly in logarithms.

        ``aspect`` is the frame's width by its height, so that an orbit is round. ``seed`` says how a hand trembles. At 0 everything is at rest.
        """
        at = np.asarray(times, np.float64)
        keys = [(0.0, REST), *((time, pose) for time, pose in self.keys if time > 0)]
        known = np.array([_logarithmic(pose) for _, pose in keys])
        found = _between(np.array([time for time, _ in keys]), known, at, self.ease)
        turn, orbit = 2 * np.pi * at, NAMES.index("orbit")
        radius = known[:, orbit].max() + known[:, orbit].min()
        found[:, orbit] = radius
        found[:, NAMES.index("pan")] += radius * np.sin(turn)
        found[:, NAMES.index("tilt")] += radius * aspect * (np.cos(turn) - 1)
        found[:, NAMES.index("arc")] += radius * np.sin(turn)
        if self.handheld:
            found += self.handheld * _tremor(at * seconds, seed) - self.handheld * _tremor(np.zeros(1), seed)
        return found

    def written(self) -> str:
        """The path in words that ``read`` reads; '' where nothing moves."""
        keys = "; ".join(
            (f"{time:g}:" if len(self.keys) > 1 or time != 1 else "") + _said(pose)
            for time, pose in self.keys
            if pose != REST or len(self.keys) > 1
        )
        rest = [f"ease={self.ease}"] if keys and self.ease != "in-out" else []
        rest += [f"handheld={self.handheld:g}"] if self.handheld else []
        return "; ".join(part for part in (keys, ",".join(rest)) if part)


def read(text: str) -> CameraPath:
    """A path as people write it. Raises ValueError with a sentence that says what is wrong and what would be right."""
    keys: dict[float, Pose] = {}
    said = {"ease": "in-out", "handheld": "0"}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        time, entries = _timed(part)
        pose = dict(zip(NAMES, astuple(keys.get(time, REST)), strict=True))
        for entry in filter(None, (piece.strip() for piece in entries.split(","))):
            name, equals, value = (piece.strip() for piece in entry.partition("="))
            if name in said:
                said[name] = value
            elif equals:
                pose[name] = _value(name, value)
            else:
                pose = _with_move(pose, name)
        keys[time] = Pose(**pose)
    if len(keys) > MOST_KEYS:
        raise ValueError(f"a camera path has at most {MOST_KEYS} keyframes: leave some out")
    moving = keys if len(keys) > 1 else {time: pose for time, pose in keys.items() if pose != REST}
    if said["ease"] not in get_args(Ease):
        raise ValueError(f"ease is {', '.join(get_args(Ease)[:-1])} or {get_args(Ease)[-1]}, not {said['ease']!r}")
    return CameraPath(tuple(sorted(moving.items())), said["ease"], number("handheld", said["handheld"], 0, 1))  # type: ignore[arg-type]


def scaled(pose: Pose, strength: float) -> Pose:
    """``strength`` times as much of a move."""
    return Pose(**{name: _times(name, value, strength) for name, value in zip(NAMES, astuple(pose), strict=True)})


def _times(name: str, value: float, strength: float) -> float:
    low, high = LIMITS[name]
    much = value**strength if name in ("zoom", "dolly") else value * strength
    return round(min(max(much, low), high), 6)


def _timed(part: str) -> tuple[float, str]:
    """``0.5:zoom=2`` => (0.5, "zoom=2"); without a time it is the clip's end."""
    match = re.match(r"\s*([\d.]+%?)\s*:(.*)", part, re.DOTALL)
    if match is None:
        return 1.0, part
    percent = match[1].endswith("%")
    time = number("a keyframe’s time", match[1].rstrip("%"), 0, 100 if percent else 1)
    return (time / 100 if percent else time), match[2]


def _with_move(pose: dict[str, float], text: str) -> dict[str, float]:
    """``pose`` and a move by its name, ``push in*0.5`` half of it, on top."""
    words, _, strength = text.partition("*")
    name = re.sub(r"[\s_-]+", " ", words).strip().lower()
    if name not in MOVES:
        raise ValueError(
            f"the camera knows no {text!r}: a move is {', '.join(MOVES)}, or a value such as zoom=1.2 or pan=-0.1"
        )
    move = scaled(MOVES[name], number("a move’s strength", strength or "1", -4, 4))
    joined = {}
    for key, value in zip(NAMES, astuple(move), strict=True):
        low, high = LIMITS[key]
        both = pose[key] * value if key in ("zoom", "dolly") else pose[key] + value
        joined[key] = min(max(both, low), high)
    return joined


def _value(name: str, text: str) -> float:
    if name not in LIMITS:
        raise ValueError(f"the camera has no {name!r}: it has {', '.join(LIMITS)}, ease and handheld")
    return number(name, text, *LIMITS[name])


def _said(pose: Pose) -> str:
    given = [(name, value) for name, value in zip(NAMES, astuple(pose), strict=True)]
    changed = [f"{name}={value:g}" for name, value in given if value != getattr(REST, name)]
    return ",".join(changed) or "zoom=1"


def _logarithmic(pose: Pose) -> list[float]:
    return [
        math.log(value) if name in ("zoom", "dolly") else value
        for name, value in zip(NAMES, astuple(pose), strict=True)
    ]


def _between(times: Floats, values: Floats, at: Floats, ease: Ease) -> Floats:
    """``values`` [K C] at ``times`` => [N C] at ``at``: cubics that never overshoot a key (Fritsch and Carlson 1980), at rest
    at the ends that ``ease`` names; the last value is kept after its time.
    """
    if len(times) == 1:
        return np.repeat(values, len(at), axis=0)
    steps = np.diff(times)[:, None]
    slopes = np.diff(values, axis=0) / steps
    inner = np.zeros_like(values)
    inner[0], inner[-1] = slopes[0], slopes[-1]
    same = slopes[1:] * slopes[:-1] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
        mean = (a + b) / (a / slopes[:-1] + b / slopes[1:])
    inner[1:-1] = np.where(same, mean, 0)
    if ease in ("in", "in-out"):
        inner[0] = 0
    if ease in ("out", "in-out"):
        inner[-1] = 0
    at = at.clip(0, times[-1])
    first = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    step = steps[first]
    t = ((at - times[first])[:, None]) / step
    low, high = values[first], values[first + 1]
    m, n = inner[first] * step, inner[first + 1] * step
    found: Floats = (
        (2 * t**3 - 3 * t**2 + 1) * low + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * high + (t**3 - t**2) * n
    )
    return found


def _tremor(seconds: Floats, seed: int) -> Floats:
    """How a hand of ``seed`` trembles, as ``NAMES``: [N 7]; slow swings are the wider ones."""
    rng = np.random.default_rng(seed)
    moved = np.zeros((len(seconds), len(NAMES)))
    for name, much in (("pan", 1.0), ("tilt", 1.0), ("zoom", 0.5), ("roll", 40.0)):
        for hertz in TREMOR_HERTZ:
            swing = TREMOR * much * (TREMOR_HERTZ[0] / hertz) ** 0.8
            moved[:, NAMES.index(name)] += swing * np.sin(2 * np.pi * (hertz * seconds + rng.random()))
    return moved
