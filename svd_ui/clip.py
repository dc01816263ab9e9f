"""One clip as it will be made: a request in which a checkpoint has filled every blank; no torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from .media.sheet import small_size
from .request import GenerationRequest, Schedule

if TYPE_CHECKING:
    from .catalog.checkpoint import CheckpointRow
    from .catalog.profiles import ProfileRow
    from .post import PostParams

SIGMA_MAX = 700.0
"""The sigma_max of SVD: requests give sigmas in its range."""
MAY_BE_OPEN = {"guidance_sigma_min", "guidance_sigma_max", "decode_chunk_size", "render_height"}
MOST_LINES = 1080
"""Of the shorter side of a frame that is rendered larger than the clip: 1920x1080, or upright 1080x1920."""


@dataclass(frozen=True)
class ClipShape:
    """What a file of frames measures: pixels, and ``fps`` at which it plays."""

    num_frames: int
    width: int
    height: int
    fps: int


@dataclass(frozen=True)
class ClipSpec:
    """A request resolved for one checkpoint: what has a value is not None.

    ``request`` is the resolved one that is stored; the fields beside it are its own. ``dataclasses.replace`` of those
    asks what another clip would cost, and leaves ``request`` as it was. ``decode_chunk_size`` is None where the memory
    profile decides it, ``guidance_sigma_min`` and ``guidance_sigma_max`` where guidance has no such end.

    ``num_frames``, ``width`` and ``height`` are those of the latents, ``num_frames`` key frames at ``fps``. What is
    decoded of them, and all that comes after, is counted by ``shape``: for a checkpoint that renders it differs, being
    ``output_fps`` frames a second of ``render_height`` lines, None for the clip's own.
    """

    request: GenerationRequest
    row: CheckpointRow
    width: int
    height: int
    focus_x: float
    focus_y: float
    num_frames: int
    num_inference_steps: int
    fps: int
    output_fps: int
    min_guidance_scale: float
    max_guidance_scale: float
    schedule: Schedule
    cache_interval: int
    seed: int
    motion_bucket_id: int
    noise_aug_strength: float
    guidance_sigma_min: float | None
    guidance_sigma_max: float | None
    decode_chunk_size: int | None
    render_height: int | None

    @classmethod
    def of(cls, request: GenerationRequest, row: CheckpointRow) -> ClipSpec:
        """``request``, resolved or not, for the checkpoint of ``row``. Raises ValueError where ``row`` leaves a blank."""
        full = request.resolved(row.defaults(request.speed)).model_copy(update={"checkpoint": row.id})
        values = {
            field.name: getattr(full, field.name) for field in fields(cls) if field.name not in ("request", "row")
        }
        blank = [name for name, value in values.items() if value is None and name not in MAY_BE_OPEN]
        if blank:
            raise ValueError(f"{row.id} says nothing of {', '.join(blank)}")
        return cls(full, row, **values)

    @property
    def length(self) -> int:
        """How many frames of latents there are in the end: a method may make more than ``num_frames`` at once."""
        return self.request.method.length(self)

    @property
    def renders(self) -> bool:
        """Whether frames are free of the latents' size and times."""
        return self.row.facts.renders(self.row)

    @property
    def shape(self) -> ClipShape:
        """The frames as they are decoded."""
        return ClipShape(len(self.frame_times), *self.frame_size, self.output_fps)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) of the frames, even where they are rendered; a wall's are no larger than its tiles."""
        if self.renders and self.request.wall:
            return small_size(self.width, self.height)
        if self.render_height is None:
            return self.width, self.height
        return 2 * max(1, round(self.render_height * self.width / self.height / 2)), self.render_height

    @property
    def frame_times(self) -> tuple[float, ...]:
        """When each frame is, counted in key frames from the first; the last is no later than the last of those."""
        if not self.renders:
            return tuple(map(float, range(self.length)))
        count = (self.length - 1) * self.output_fps // self.fps + 1
        return tuple(index * self.fps / self.output_fps for index in range(count))

    def frames_at_once(self, profile: ProfileRow) -> int:
        """How many frames are decoded together under ``profile``."""
        return min(self.decode_chunk_size or self.row.facts.frames_at_once(self, profile), self.shape.num_frames)

    def of_length(self, length: int) -> ClipSpec:
        """The same clip that turned out to have ``length`` frames of latents."""
        if length == self.length:
            return self
        method = self.request.method.shortened(self, length)
        return replace(self, request=self.request.model_copy(update={"method": method}))

    def of_picture(self, picture: tuple[int, int]) -> ClipSpec:
        """The same clip of a picture of that (width, height): rendered no larger than that shows, and 1080p."""
        if self.render_height is None:
            return self
        width, height = self.width, self.height
        there = min(picture[0] * height / width, picture[1], MOST_LINES * max(1.0, height / width))
        return replace(self, render_height=min(self.render_height, max(height, int(there) // 2 * 2)))

    @property
    def final_shape(self) -> ClipShape:
        """The file's shape, after the post steps."""
        return shape_after(self.shape, self.request.post)

    @property
    def tiles(self) -> int:
        """How many clips are made: those of the wall, else one."""
        return self.request.wall.made if self.request.wall else 1

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(seed, motion) of the clip, or of every tile of a wall, row by row; ``without`` says which are not made."""
        wall = self.request.wall
        return wall.pairs(self.seed) if wall else ((self.seed, self.motion_bucket_id),)

    @property
    def without(self) -> frozenset[int]:
        """Of a wall: the places in ``pairs`` that are not made."""
        return frozenset(self.request.wall.without if self.request.wall else ())

    @property
    def columns(self) -> int:
        """Of a wall: how many tiles stand side by side."""
        return len(self.request.wall.motion_bucket_ids) if self.request.wall else 1

    def tile(self, seed: int, motion_bucket_id: int) -> ClipSpec:
        """One clip of the wall, at the wall's size and speed."""
        request = self.request.tile(seed, motion_bucket_id)
        return replace(self, request=request, seed=seed, motion_bucket_id=motion_bucket_id)

    def with_image(self, image: str) -> ClipSpec:
        """The same clip of the picture kept as ``image``."""
        return replace(self, request=self.request.model_copy(update={"image": image}))

    @property
    def guided(self) -> bool:
        """Whether the U-Net runs with and without the still at some step."""
        return self.max_guidance_scale > 1

    @property
    def guidance_interval(self) -> tuple[float, float]:
        """Guided where low < sigma <= high, in units of the checkpoint's latents; infinite where there is no end.

        The request's sigmas are for SVD's range of noise and scale with the checkpoint's.
        """
        scale, low, high = self.sigma_scale, self.guidance_sigma_min, self.guidance_sigma_max
        return -math.inf if low is None else low * scale, math.inf if high is None else high * scale

    @property
    def sigma_scale(self) -> float:
        """What a level of SVD's noise is multiplied by to be one of the checkpoint's."""
        return self.row.sigma_reference / SIGMA_MAX

    @property
    def sigmas(self) -> list[float]:
        """The noise level of each step, falling, in units of scaled latents."""
        return self.row.facts.sigmas(self)

    def first_step_below(self, level: float) -> int:
        """Which step is the first whose noise is no more than ``level``; the last one where none is."""
        return next((at for at, sigma in enumerate(self.sigmas) if sigma <= level), self.num_inference_steps - 1)

    def share_after(self, first: int) -> float:
        """Share of the denoising work that is left from the step ``first`` on."""
        work = [2 if guided else 1 for guided in self.guided_steps]
        return sum(work[first:]) / sum(work)

    @property
    def guided_steps(self) -> list[bool]:
        """Whether each step runs with guidance."""
        low, high = self.guidance_interval
        return [self.guided and low < sigma <= high for sigma in self.sigmas]

    @property
    def whole_steps(self) -> list[bool]:
        """Whether each step runs all layers, as ``core/sampling/feature_cache.py`` decides it."""
        return self.row.facts.whole_steps(self)


def in_shape_of(picture: tuple[int, int] | None, request: GenerationRequest, row: CheckpointRow) -> GenerationRequest:
    """``request`` at about the checkpoint's own size in the shape of its picture; a size that is given stays."""
    if picture is None or request.width is not None or request.height is not None:
        return request
    width, height = row.size_like(picture)
    return request.model_copy(update={"width": width, "height": height})


def shape_after(shape: ClipShape, steps: Iterable[PostParams]) -> ClipShape:
    """The clip's shape when ``steps`` are done."""
    for step in steps:
        shape = step.changes(shape)
    return shape
