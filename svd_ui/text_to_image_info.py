"""What is known about a text-to-image folder without loading it: its size, its guidance, what it ignores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEW_STEPS = 4
MANY_STEPS = 30
DOWNLOAD_BYTES = {"stabilityai/sd-turbo": 2_590_000_000}
"""By repository, what is fetched of it: its half precision, as ``hub`` chooses; of others their own page tells."""
_DISTILLED = ("turbo", "lightning", "schnell", "lcm", "hyper-sd", "distilled")
_WITHOUT_NEGATIVE = {"FluxPipeline": "This model takes no negative prompt."}


@dataclass(frozen=True)
class StillModel:
    """``side`` is the length of a native square in pixels; sizes are multiples of ``unit``.

    A distilled model needs few steps and runs without guidance, so it cannot avoid anything either.
    """

    pipeline: str
    side: int
    unit: int
    distilled: bool
    variant: str | None

    @classmethod
    def read(cls, folder: Path) -> StillModel:
        """From the folder's configuration files; raises OSError or ValueError where they are not readable."""
        index = _json(folder / "model_index.json")
        part = next(name for name in ("unet", "transformer", "prior", "vae") if (folder / name).is_dir())
        cells = _json(folder / part / "config.json").get("sample_size") or (64 if part == "unet" else 128)
        cells = max(cells) if isinstance(cells, list) else int(cells)
        blocks = _json(folder / "vae" / "config.json").get("block_out_channels", [0] * 4)
        side = cells * 2 ** (len(blocks) - 1)
        weights = [path.name for path in (folder / part).glob("*.safetensors")]
        return cls(
            pipeline=str(index.get("_class_name")),
            side=side,
            unit=64 if side >= 256 else 8,
            distilled=any(word in name for name in _names(folder, index) for word in _DISTILLED),
            variant="fp16" if any(".fp16." in name or ".fp16-" in name for name in weights) else None,
        )

    @property
    def steps(self) -> int:
        return FEW_STEPS if self.distilled else MANY_STEPS

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the native area in the aspect of ``width`` x ``height``."""
        aspect = (width / height) ** 0.5
        across, down = (max(1, round(self.side * f / self.unit)) * self.unit for f in (aspect, 1 / aspect))
        return across, down

    @property
    def ignored(self) -> dict[str, str]:
        """Request field => why this model takes no notice of it."""
        if self.distilled:
            return {"negative_prompt": "This model runs without guidance and ignores it."}
        reason = _WITHOUT_NEGATIVE.get(self.pipeline)
        return {"negative_prompt": reason} if reason else {}


def ignored_fields(folder: Path) -> dict[str, str]:
    """Request field => reason, for the page; empty where the folder cannot be read yet."""
    try:
        return StillModel.read(folder).ignored
    except (OSError, ValueError, StopIteration, AttributeError, TypeError, LookupError, RecursionError):
        return {}


def _names(folder: Path, index: dict[str, Any]) -> list[str]:
    """Where a name of the model may stand: its folder, the hub cache's folder of a snapshot, its own index."""
    snapshot = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    return [name.lower() for name in (folder.name, snapshot, str(index.get("_name_or_path", "")))]


def _json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return data
