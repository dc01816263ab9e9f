"""The vocabulary: what one clip is made from.

A default, a range, a label and a help text live here and nowhere else. The page's sliders, the command
line's flags, the presets and the HTTP API are derived from ``GenerationRequest.model_fields``.
Fields that default to None take the checkpoint's value; precedence is explicit > preset > speed > checkpoint
> field (``resolved``).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from .asset_ref import AssetRef as AssetRef
from .methods import Method
from .methods.plain import Plain
from .plugins import Frozen as Frozen
from .post import PostStep

SCHEMA_VERSION = 1
MAX_SEED = 2**32 - 1
MAX_PROMPT = 500

OutputFormat = Literal["mp4", "png", "gif", "webp"]
ProfileName = Literal["auto", "24gb", "16gb", "12gb", "8gb", "6gb", "4gb", "cpu"]
Speed = Literal["exact", "fast", "draft"]
Schedule = Literal["checkpoint", "ays"]
FOCUS = ("focus_x", "focus_y")
MIDDLE = 0.5
MAX_TILES = 24
MAX_POST = 8
APPROXIMATE: dict[str, JsonValue] = {"approximate": True}
"""Marks the fields that trade likeness for time."""


class Wall(Frozen):
    """A draft wall: one small clip for each of ``seeds`` consecutive seeds and each motion, to choose from."""

    seeds: int = Field(3, ge=1, le=8, title="Seeds", description="Consecutive seeds, one row of tiles each.")
    motion_bucket_ids: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(
        (40, 127, 200),
        min_length=1,
        max_length=8,
        title="Motions",
        description="Motion values, one column of tiles each.",
    )
    without: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), max_length=64, title="Without", description="Tiles not to make, by their number from 0, row by row."
    )

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        if len(set(self.motion_bucket_ids)) < len(self.motion_bucket_ids):
            raise ValueError("Each motion may be on the wall once: remove the second one")
        if self.tiles > MAX_TILES:
            raise ValueError(f"A wall holds at most {MAX_TILES} tiles: fewer seeds or fewer motions")
        if set(self.without) >= set(range(self.tiles)) or not set(self.without) <= set(range(self.tiles)):
            raise ValueError(f"Tiles not to make are numbers from 0 to {self.tiles - 1}, and one tile has to be left")
        return self

    @property
    def tiles(self) -> int:
        return self.seeds * len(self.motion_bucket_ids)

    @property
    def made(self) -> int:
        """How many of the tiles are made."""
        return self.tiles - len(set(self.without))

    def pairs(self, first_seed: int) -> tuple[tuple[int, int], ...]:
        """(seed, motion) of every tile, row by row; the seeds count on from ``first_seed`` and wrap at 2**32."""
        seeds = [(first_seed + row) % (MAX_SEED + 1) for row in range(self.seeds)]
        return tuple((seed, motion) for seed in seeds for motion in self.motion_bucket_ids)


def _lora_name(value: str) -> str:
    if value.startswith("/") or not {"", ".", ".."}.isdisjoint(value.split("/")):
        raise ValueError("a LoRA goes by its name in the list, not by a path")
    return value


class LoraRef(Frozen):
    """A LoRA as it is listed, by its place in models/loras without the ending, and how much of it is added."""

    name: Annotated[str, AfterValidator(_lora_name)] = Field(
        min_length=1, max_length=1000, title="LoRA", description="A file of models/loras."
    )
    weight: float = Field(1.0, ge=-2, le=2, title="Weight", description="1: as trained. 0: off.")


class GenerationRequest(Frozen):
    """One clip. Exactly one of ``image`` and ``prompt`` on input; a resolved request may hold both."""

    image: AssetRef | None = Field(None, title="Picture", description="The picture to animate.")
    prompt: str | None = Field(
        None,
        max_length=MAX_PROMPT,
        title="Prompt",
        description="Describe the first frame. It is made first, then animated.",
    )
    negative_prompt: str | None = Field(
        None, max_length=MAX_PROMPT, title="Negative prompt", description="What the first frame should not show."
    )
    checkpoint: str = Field(
        "auto",
        max_length=120,
        title="Checkpoint",
        description="The model. auto: the best one here that fits this device.",
    )
    width: int | None = Field(
        None,
        ge=64,
        le=2048,
        multiple_of=8,
        title="Width",
        description="Pixels. Both blank: the shape of the picture, at about the checkpoint's own size.",
    )
    height: int | None = Field(
        None,
        ge=64,
        le=2048,
        multiple_of=8,
        title="Height",
        description="Pixels. Both blank: the shape of the picture, at about the checkpoint's own size.",
    )
    focus_x: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Focus across",
        description="Which part a crop keeps: 0 left, 1 right. Blank: the subject.",
    )
    focus_y: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Focus down",
        description="Which part a crop keeps: 0 top, 1 bottom. Blank: the subject.",
    )
    num_frames: int | None = Field(
        None, ge=2, le=64, title="Frames", description="Length of the clip. The checkpoint's own works best."
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=100, title="Steps", description="More steps take longer and add detail."
    )
    speed: Speed = Field(
        "exact",
        title="Speed",
        description="exact: full quality. fast and draft: approximate, in less time.",
    )
    schedule: Schedule | None = Field(
        None,
        title="Schedule",
        description="Spacing of the steps. ays: for few steps, approximate. Blank: set by speed.",
        json_schema_extra=APPROXIMATE,
    )
    cache_interval: int | None = Field(
        None,
        ge=1,
        le=5,
        title="Reuse features",
        description="Run all layers at every N-th step only, approximate. 1: at every step. Blank: set by speed.",
        json_schema_extra=APPROXIMATE,
    )
    guidance_sigma_min: float | None = Field(
        None,
        ge=0,
        le=1000,
        title="Skip guidance below noise level",
        description="No guidance once the noise is this low, approximate. Blank: guided to the end.",
        json_schema_extra=APPROXIMATE,
    )
    guidance_sigma_max: float | None = Field(
        None,
        ge=0,
        le=1000,
        title="Skip guidance above noise level",
        description="No guidance while the noise is this high, approximate. Blank: guided from the start.",
        json_schema_extra=APPROXIMATE,
    )
    fps: int | None = Field(
        None,
        ge=1,
        le=30,
        title="Model FPS",
        description="Frame rate the model plans for: lower gives larger motion per frame.",
    )
    output_fps: int | None = Field(
        None,
        ge=1,
        le=60,
        title="Playback FPS",
        description="Frame rate of the clip: smoother with nano, faster with others. Blank: the checkpoint's own.",
    )
    motion_bucket_id: int = Field(
        127, ge=1, le=255, title="Motion", description="How much moves: low is calm, high is lively."
    )
    noise_aug_strength: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Noise augmentation",
        description="Noise on the picture: more frees the motion, but drifts away from the picture.",
    )
    min_guidance_scale: float | None = Field(
        None, ge=1, le=10, title="Guidance, first frame", description="How closely the first frame follows the picture."
    )
    max_guidance_scale: float | None = Field(
        None, ge=1, le=10, title="Guidance, last frame", description="How closely the last frame follows the picture."
    )
    decode_chunk_size: int | None = Field(
        None, ge=1, le=64, title="Decode chunk", description="Frames decoded at once: fewer need less memory."
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        title="Seed",
        description="The same seed gives the same clip. Blank: a new one each time.",
    )
    method: Method = Field(Plain(), title="Method", description="How the motion is made.")
    wall: Wall | None = Field(
        None,
        title="Draft wall",
        description="Small drafts of several seeds and motions to choose from, instead of one clip.",
    )
    post: tuple[PostStep, ...] = Field(
        (),
        max_length=MAX_POST,
        title="Finishing",
        description="Loops and other steps, applied to the finished frames in this order.",
    )
    loras: tuple[LoraRef, ...] = Field(
        (), max_length=8, title="LoRAs", description="Small add-ons to the model, by name, each with its weight."
    )
    profile: ProfileName = Field(
        "auto", title="Memory", description="How much device memory to use. auto: what the device has."
    )
    output_format: OutputFormat = Field(
        "mp4", title="Format", description="Always an mp4. png adds all frames as a zip, gif or webp a looping picture."
    )
    render_height: int | None = Field(
        None,
        ge=64,
        le=1920,
        multiple_of=2,
        title="Output height",
        description="Lines of each frame, as many as the picture has, 1080p at most. Blank: the clip's height.",
    )

    @model_validator(mode="after")
    def _guidance_rises(self) -> Self:
        low, high = self.min_guidance_scale, self.max_guidance_scale
        if low is not None and high is not None and low > high:
            raise ValueError(
                "Guidance of the first frame must not exceed that of the last: lower it or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _each_lora_once(self) -> Self:
        if len({lora.name for lora in self.loras}) < len(self.loras):
            raise ValueError("Each LoRA may be chosen once: remove the second one")
        return self

    @model_validator(mode="after")
    def _guided_somewhere(self) -> Self:
        low, high = self.guidance_sigma_min, self.guidance_sigma_max
        if low is not None and high is not None and low >= high:
            raise ValueError(
                "Skip guidance below noise level must be less than skip guidance above it: lower the first or raise the second"
            )
        return self

    @property
    def focus(self) -> tuple[float, float]:
        """(across, down): where a crop is put; in the middle where that is blank and no picture was looked at."""
        x, y = (MIDDLE if value is None else value for value in (self.focus_x, self.focus_y))
        return x, y

    def tile(self, seed: int, motion_bucket_id: int) -> GenerationRequest:
        """The one clip that a tile of this wall is a small copy of; everything else stays as it is."""
        return self.model_copy(update={"wall": None, "seed": seed, "motion_bucket_id": motion_bucket_id})

    def with_seed(self) -> GenerationRequest:
        """The same request with its seed fixed (drawn by the system's generator if blank)."""
        return self if self.seed is not None else self.model_copy(update={"seed": secrets.randbelow(MAX_SEED + 1)})

    def resolved(self, defaults: Mapping[str, Any]) -> GenerationRequest:
        """A new request in which every None that ``defaults`` knows is filled and the seed is fixed.

        ``defaults`` is ``CheckpointRow.defaults(self.speed)``; where it knows no ``output_fps``, that follows ``fps``. The
        focus is on the subject once the picture was looked at (``Assets.focused``), else in the middle.
        """
        filled = {name: value for name, value in defaults.items() if getattr(self, name, None) is None}
        request = self.model_copy(update=filled).with_seed()
        guidance = (request.min_guidance_scale, request.max_guidance_scale)
        update: dict[str, Any] = {}
        if None not in guidance and guidance[0] > guidance[1]:  # type: ignore[operator]
            # Only one end was given: the other, from the checkpoint, follows it.
            given_low = self.min_guidance_scale is not None
            update = {"max_guidance_scale" if given_low else "min_guidance_scale": guidance[0 if given_low else 1]}
        if request.output_fps is None:
            update["output_fps"] = request.fps
        update |= {name: MIDDLE for name in FOCUS if getattr(request, name) is None}
        return GenerationRequest.model_validate({**request.model_dump(), **update})

    def unresolved(self, defaults: Mapping[str, Any]) -> GenerationRequest:
        """The same clip with every field blank that ``defaults`` fills with just that value: ``resolved`` undone.

        The size stays, as it is one value in two fields; so does the seed.
        """
        left = self.with_seed()
        meant = left.resolved(defaults)
        for name, info in GenerationRequest.model_fields.items():
            if info.default is None and name not in {"width", "height", "seed"}:
                fewer = left.model_copy(update={name: None})
                left = fewer if fewer.resolved(defaults) == meant else left
        return left.model_copy(update={"seed": self.seed})

    def explicit(self) -> dict[str, Any]:
        """JSON of the fields that differ from the defaults: what a preset or a share link carries."""
        changed = {name for name, info in GenerationRequest.model_fields.items() if getattr(self, name) != info.default}
        return self.model_dump(mode="json", include=changed)


def has_source(request: GenerationRequest) -> bool:
    """Whether exactly one of image and prompt is given, as every input border requires."""
    return (request.image is None) != (not (request.prompt or "").strip())
