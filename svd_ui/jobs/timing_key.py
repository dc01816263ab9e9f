"""Kinds of clips: what the time of a clip depends on, and how one kind's cost compares with another's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from ..catalog import CheckpointRow, find_checkpoint
from ..catalog.costs import around_flops, step_flops
from ..clip import ClipSpec
from ..errors import SvdUiError
from ..methods import METHODS
from ..post import POST
from ..request import GenerationRequest
from ..settings import Settings
from . import JobKind

PACE, RENDERED, WITH = "pace=", "rendered=", "with="
SPLIT = "on-two-devices"
"""Among ``TimingKey.kinds``: guidance is split over two."""


@dataclass(frozen=True)
class Pace:
    """What makes the steps of a clip cheaper than those of the exact one, and how many clips there are."""

    cache_interval: int = 1
    schedule: str = "checkpoint"
    guidance_sigma_min: float | None = None
    guidance_sigma_max: float | None = None
    tiles: int = 1

    def __str__(self) -> str:
        ends = ("" if end is None else f"{end:g}" for end in (self.guidance_sigma_min, self.guidance_sigma_max))
        return f"{PACE}{','.join((str(self.cache_interval), self.schedule, *ends, str(self.tiles)))}"

    @classmethod
    def parse(cls, text: str) -> Pace:
        """The inverse of ``str``. Raises ValueError for anything else."""
        interval, schedule, low, high, tiles = text.removeprefix(PACE).split(",")
        return cls(int(interval), schedule, float(low) if low else None, float(high) if high else None, int(tiles))

    @property
    def even(self) -> bool:
        """Whether every step is like the others."""
        return replace(self, schedule="checkpoint") == Pace()


EXACT = Pace()


class Rendered(NamedTuple):
    """Of frames that are free of the latents' size and times: their lines, and how many there are for each key frame."""

    height: int
    fps: int
    output_fps: int

    def __str__(self) -> str:
        return f"{RENDERED}{','.join(map(str, self))}"

    @classmethod
    def parse(cls, text: str) -> Rendered:
        """The inverse of ``str``. Raises ValueError for anything else."""
        height, fps, output_fps = map(int, text.removeprefix(RENDERED).split(","))
        return cls(height, fps, output_fps)


@dataclass(frozen=True)
class TimingKey:
    """What the time of a clip depends on, besides its steps."""

    checkpoint: str
    width: int
    height: int
    num_frames: int
    guided: bool
    from_prompt: bool
    kind: JobKind = "clip"
    pace: Pace = EXACT
    kinds: tuple[str, ...] = ()
    """The method, unless it is plain, and the post steps: their work is their own."""
    rendered: Rendered | None = None

    def __str__(self) -> str:
        parts = (self.kind, f"{self.width}x{self.height}", self.num_frames, int(self.guided), int(self.from_prompt))
        text = f"{self.checkpoint}|{'|'.join(map(str, parts))}"
        # Exact clips are called what they were before there were others, so nothing that was learnt is lost.
        text = text if self.pace == EXACT else f"{text}|{self.pace}"
        text = text if self.rendered is None else f"{text}|{self.rendered}"
        return f"{text}|{WITH}{','.join(self.kinds)}" if self.kinds else text

    @classmethod
    def parse(cls, text: str) -> TimingKey | None:
        """The inverse of ``str``; None for anything else."""
        text, _, kinds = text.partition(f"|{WITH}")
        text, is_rendered, frames_of = text.partition(f"|{RENDERED}")
        before, _, last = text.rpartition("|")
        has_pace = last.startswith(PACE)
        try:
            checkpoint, kind, size, frames, guided, from_prompt = (before if has_pace else text).rsplit("|", 5)
            width, height = map(int, size.split("x"))
            pace = Pace.parse(last) if has_pace else EXACT
            names = tuple(kinds.split(",")) if kinds else ()
            rendered = Rendered.parse(frames_of) if is_rendered else None
            flags = guided == "1", from_prompt == "1"
            return cls(checkpoint, width, height, int(frames), *flags, kind, pace, names, rendered)  # type: ignore[arg-type]
        except ValueError:
            return None


def key_of(clip: ClipSpec, kind: JobKind, *, from_prompt: bool, split: bool = False) -> TimingKey:
    """``split``: two devices share the guidance of the clip, as far as it has any."""
    ends = (clip.guidance_sigma_min, clip.guidance_sigma_max) if clip.guided else (None, None)
    pace = EXACT if kind == "still" else Pace(clip.cache_interval, clip.schedule, *ends, clip.tiles)
    steps = (clip.request.method, *clip.request.post)
    kinds = () if kind == "still" else tuple(step.kind for step in steps if step.kind != "plain")
    kinds += (SPLIT,) if split and clip.guided and kind != "still" else ()
    free = clip.renders and kind != "still"
    rendered = Rendered(clip.frame_size[1], clip.fps, clip.output_fps) if free else None
    size = clip.width, clip.height, clip.num_frames
    return TimingKey(clip.row.id, *size, clip.guided, from_prompt, kind, pace, kinds, rendered)


class RelativeCost(NamedTuple):
    """Cost of one step and of what follows the steps, each in a unit of its own, the same within a checkpoint."""

    step: float
    around: float


Costs = Callable[[TimingKey], RelativeCost]


def by_size(key: TimingKey) -> RelativeCost:
    """For models of which nothing more is known: cost grows with the pixels and with the frames."""
    pixels = float(key.width * key.height * key.num_frames * key.pace.tiles)
    return RelativeCost(
        pixels * (2 if key.guided and SPLIT not in key.kinds else 1) / key.pace.cache_interval, max(pixels, 1.0)
    )


COUNTED_SECONDS, MOST_COUNTED = 60.0, 4096
"""How long a count holds, since a checkpoint may be replaced, and how many are kept."""


class CountedCosts:
    """``Costs`` from counted operations, where the checkpoint's are known.

    Counting one looks through all checkpoints of this machine, and a queue asks for the same few again and again.
    ``clock`` in seconds. Thread-safe.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._counted: dict[TimingKey, RelativeCost] = {}
        self._until = 0.0

    def __call__(self, key: TimingKey) -> RelativeCost:
        if self._clock() >= self._until or len(self._counted) >= MOST_COUNTED:
            self._counted, self._until = {}, self._clock() + COUNTED_SECONDS
        found = self._counted.get(key)
        if found is None:
            found = self._counted[key] = self._count(key)
        return found

    def _count(self, key: TimingKey) -> RelativeCost:
        if key.kind == "still":
            return by_size(key)
        try:
            clip = _typical(key, find_checkpoint(self._settings, key.checkpoint))
        except (SvdUiError, ValueError):  # a checkpoint that is gone, a key of another time
            return by_size(key)
        step, around = step_flops(clip, SPLIT in key.kinds), around_flops(clip)
        if step is None or around is None:
            return by_size(key)
        return RelativeCost(step * key.pace.tiles, around[1] * key.pace.tiles)


def _typical(key: TimingKey, row: CheckpointRow) -> ClipSpec:
    """A clip of this kind."""
    pace = key.pace
    values: dict[str, Any] = {name: getattr(key, name) for name in ("width", "height", "num_frames")}
    values |= {field.name: getattr(pace, field.name) for field in fields(Pace) if field.name != "tiles"}
    values |= {"min_guidance_scale": 1.0, "max_guidance_scale": 2.0 if key.guided else 1.0}
    values["num_inference_steps"] = row.num_inference_steps
    if key.rendered is not None and row.facts.renders(row):
        lines, fps, output_fps = key.rendered
        values |= {"render_height": lines, "fps": fps, "output_fps": output_fps}
    methods, steps = METHODS.classes(), POST.classes()
    values["post"] = tuple(steps[kind]() for kind in key.kinds if kind in steps)
    values["method"] = next((methods[kind]() for kind in key.kinds if kind in methods), GenerationRequest().method)
    return ClipSpec.of(GenerationRequest().model_copy(update=values), row)
