"""One clip as it will be made: a request in which a checkpoint has filled every blank; no torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from .request import GenerationRequest, Schedule

if TYPE_CHECKING:
    from .catalog.checkpoint import CheckpointRow
    from .post import PostParams

SIGMA_MAX = 700.0
"""The sigma_max of SVD: requests give sigmas in its range."""
MAY_BE_OPEN = {"guidance_sigma_min", "guidance_sigma_max", "decode_chunk_size"}


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
    def shape(self) -> ClipShape:
        return ClipShape(self.num_frames, self.width, self.height, self.output_fps)

    @property
    def final_shape(self) -> ClipShape:
        """The file's shape, after the post steps."""
        return shape_after(self.shape, self.request.post)

    @property
    def tiles(self) -> int:
        """How many clips are made: those of the wall, else one."""
        return self.request.wall.tiles if self.request.wall else 1

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(seed, motion) of every clip that is made, a wall's row by row."""
        wall = self.request.wall
        return wall.pairs(self.seed) if wall else ((self.seed, self.motion_bucket_id),)

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
        scale, low, high = self.row.sigma_reference / SIGMA_MAX, self.guidance_sigma_min, self.guidance_sigma_max
        return -math.inf if low is None else low * scale, math.inf if high is None else high * scale

    @property
    def sigmas(self) -> list[float]:
        """The noise level of each step, falling, in units of scaled latents."""
        return self.row.facts.sigmas(self)

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
