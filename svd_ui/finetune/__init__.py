"""Fine-tuning as people ask for it: one request, from flags, a file or the page. No torch.

The work is done by ``recipes.nano`` in a process of its own; ``runs`` starts, stops and watches it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ..catalog import CheckpointRow
from ..errors import BadInput
from ..migration import migrate, renamed
from ..request import MAX_SEED, SCHEMA_VERSION, Frozen
from ..validation import validated

__all__ = ["NAME", "Layers", "Method", "Precision", "Targets", "TrainRequest", "read_config", "read_stored", "stored"]

Method = Literal["lora", "temporal", "full"]
Targets = Literal["temporal", "spatial", "both"]
Layers = Literal["attention", "transformer", "all"]
Precision = Literal["auto", "no", "fp16", "bf16"]
NAME = r"^[A-Za-z0-9][\w.\- ]{0,79}$"


class TrainRequest(Frozen):
    """One fine-tuning run. Fields that default to None take the checkpoint's value (``resolved``)."""

    name: str = Field(pattern=NAME, title="Name", description="What the result is called in the app.")
    data: Path = Field(
        title="Clips", description="A folder of mp4, mov, webm, mkv, avi, gif or webp files, or of numbered pictures."
    )
    checkpoint: str = Field("auto", max_length=120, title="Checkpoint", description="The model to train further.")
    method: Method = Field(
        "lora",
        title="Method",
        description="lora: a small add-on. temporal: all motion layers. full: every layer of the U-Net.",
    )
    targets: Targets = Field(
        "temporal", title="LoRA layers", description="temporal: motion. spatial: look. both: motion and look."
    )
    layers: Layers = Field(
        "attention",
        title="LoRA depth",
        description="attention: the smallest. transformer: adds feed-forward layers. all: adds convolutions and learns the most.",
    )
    rank: int = Field(16, ge=1, le=256, title="LoRA rank", description="Size of the add-on: larger learns more.")
    alpha: float | None = Field(
        None, gt=0, le=1024, title="LoRA alpha", description="Strength of the add-on. Blank: its rank."
    )
    steps: int = Field(1000, ge=1, le=1_000_000, title="Steps", description="How many times the model is updated.")
    learning_rate: float = Field(
        1e-4, gt=0, le=1, title="Learning rate", description="Size of each update. For full training use about a tenth."
    )
    warmup_steps: int = Field(
        50, ge=0, le=100_000, title="Warm-up", description="Steps until the learning rate reaches its full value."
    )
    batch_size: int = Field(1, ge=1, le=256, title="Batch", description="Clips per pass, on each GPU.")
    gradient_accumulation: int = Field(
        1, ge=1, le=256, title="Accumulate", description="Passes per update: a larger batch in the same memory."
    )
    width: int | None = Field(
        None, ge=64, le=2048, multiple_of=8, title="Width", description="Pixels. Blank: the checkpoint's own size."
    )
    height: int | None = Field(
        None, ge=64, le=2048, multiple_of=8, title="Height", description="Pixels. Blank: the checkpoint's own size."
    )
    num_frames: int | None = Field(
        None, ge=2, le=64, title="Frames", description="Frames of each training clip. Blank: the checkpoint's own."
    )
    fps: float = Field(
        7.0,
        ge=1,
        le=60,
        title="FPS of picture folders",
        description="For numbered pictures, which have no frame rate of their own.",
    )
    static_below: float = Field(
        0.01, ge=0, le=1, title="Least motion", description="Clips with less motion than this are skipped."
    )
    precision: Precision = Field(
        "auto", title="Precision", description="Number format of the training. auto: what suits the device."
    )
    gradient_checkpointing: bool = Field(
        True, title="Save memory", description="Less memory, but slower (gradient checkpointing)."
    )
    eight_bit: bool = Field(
        False,
        title="8-bit AdamW",
        description="A quarter of the optimizer's memory. Needs bitsandbytes and CUDA.",
    )
    ema: float = Field(
        0.0, ge=0, lt=1, title="EMA", description="Running average of the weights, such as 0.999. 0: off."
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, title="Seed", description="The same seed gives the same run.")
    sample_every: int = Field(
        200, ge=0, le=1_000_000, title="Sample every", description="Steps between sample clips. 0: none."
    )
    save_every: int = Field(
        200,
        ge=1,
        le=1_000_000,
        title="Save every",
        description="Steps between saves. A stopped run resumes from the last one.",
    )
    out: Path | None = Field(
        None, title="Result", description="File or folder to write. Blank: where the app finds it."
    )
    licence: str = Field(
        "", max_length=200, title="Licence", description="The licence others get the result under. Saved in its file."
    )
    note: str = Field(
        "", max_length=300, title="Note", description="About the clips it was trained on. Saved in its file."
    )

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("Give both width and height, or neither")
        return self

    def resolved(self, row: CheckpointRow) -> TrainRequest:
        """The same run with every blank filled from its checkpoint."""
        blank = {
            "width": row.width,
            "height": row.height,
            "num_frames": row.num_frames,
            "alpha": float(self.rank),
        }
        filled = {name: value for name, value in blank.items() if getattr(self, name) is None}
        return self.model_copy(update={**filled, "checkpoint": row.id})


def stored(request: TrainRequest) -> dict[str, Any]:
    """The JSON that a run keeps of its request."""
    return {"version": SCHEMA_VERSION, **request.model_dump(mode="json")}


def read_stored(data: Mapping[str, Any]) -> tuple[TrainRequest, tuple[str, ...]]:
    """A run's request written by any release, and the names of what was left out. Raises BadInput where it is none."""
    kept, dropped = _migrated(data)
    return validated(TrainRequest, kept), dropped


def read_config(path: Path | None, flags: Mapping[str, Any]) -> tuple[TrainRequest, tuple[str, ...]]:
    """A TOML (or JSON) file with the fields of ``TrainRequest``, overruled by ``flags`` that are given. Raises BadInput.

    A file that says its ``version`` was written by some release: what this one does not know is left out, and named in
    the second place. Without one it was written by a person, and a mistyped name is an error.
    """
    values: dict[str, Any] = {}
    dropped: tuple[str, ...] = ()
    if path is not None:
        try:
            text = path.read_text("utf-8")
            values = dict(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise BadInput(f"{path.name} is not a TOML file that can be read: {error}") from error
        if "version" in values:
            values, dropped = _migrated(values)
    given = {name: value for name, value in flags.items() if value is not None}
    return validated(TrainRequest, {**renamed(TrainRequest, values), **renamed(TrainRequest, given)}), dropped


def _migrated(data: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    values = {name: value for name, value in data.items() if name != "version"}
    return migrate(TrainRequest, values, data.get("version"))
