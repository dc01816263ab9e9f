"""What is known of a kind of checkpoint without loading one: the base of every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput
from ...notes import Note
from ..noise import LAST_SIGMA, SVD_RANGE, karras

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ...request import GenerationRequest, Speed
    from ..checkpoint import CheckpointRow


class CheckpointFamily:
    """Checkpoints that are sampled, decoded and costed alike. A subclass says what its own do differently.

    ``id`` is what a row's ``family`` names. ``verbs`` is where its torch half is, a ``core.families.svd.FamilyVerbs``:
    ``module:attribute``, imported when a checkpoint is loaded. ``trainable``: fine-tuning knows how.
    """

    id = ""
    verbs = "svd_ui.core.families.svd:FamilyVerbs"
    trainable = True

    def defaults(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """What a request's blank fields mean for ``row`` at ``speed``."""
        names = ("num_frames", "width", "height", "num_inference_steps", "fps")
        guidance = ("min_guidance_scale", "max_guidance_scale")
        chunk = {} if row.decode_chunk_size is None else {"decode_chunk_size": row.decode_chunk_size}
        exact = {"schedule": "checkpoint", "cache_interval": 1}
        own = {name: getattr(row, name) for name in (*names, *guidance)} | chunk | exact
        return own if speed == "exact" else own | self.quicker(row, speed)

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        """What ``fast`` and ``draft`` change."""
        return {}

    def knows_ays(self, row: CheckpointRow) -> bool:
        """Whether the published AYS schedule, made for SVD's range of noise, fits ``row``."""
        return False

    def check(self, row: CheckpointRow, request: GenerationRequest) -> None:
        """Raise BadInput where ``request``, resolved or not, asks for what ``row`` cannot do."""
        if request.schedule == "ays" and not self.knows_ays(row):
            raise BadInput(
                f"The AYS schedule was made for Stable Video Diffusion's noise; {row.title} takes only its own. "
                "Leave Schedule blank.",
                field="schedule",
            )

    def sigmas(self, clip: ClipSpec) -> list[float]:
        """The noise level of each step of ``clip``, falling, in units of scaled latents."""
        return karras(clip.num_inference_steps, *sigma_range(clip.row.folder))

    def whole_steps(self, clip: ClipSpec) -> list[bool]:
        """Whether each step of ``clip`` runs all layers, as ``core/sampling/feature_cache.py`` decides it."""
        levels = self.sigmas(clip)
        last = len(levels) - 1 if levels[-1] > LAST_SIGMA else None
        return [index % clip.cache_interval == 0 or index == last for index in range(len(levels))]

    def reference(self, row: CheckpointRow) -> dict[str, Any]:
        """Fields of the exact clip that costs are compared with: the checkpoint's own steps and guidance."""
        own = self.defaults(row, "exact")
        names = ("num_inference_steps", "min_guidance_scale", "max_guidance_scale", "schedule", "cache_interval")
        return {name: own[name] for name in names} | {"guidance_sigma_min": None, "guidance_sigma_max": None}

    def approximations(self, clip: ClipSpec) -> list[Note]:
        """What makes every clip of this family an approximate one."""
        return []

    def advice(self, clip: ClipSpec) -> list[Note]:
        """Notes for whoever asks for more than the family was made for."""
        return []


def sigma_range(folder: Path | None) -> tuple[float, float]:
    """(smallest, largest) sigma of a checkpoint's scheduler; SVD's where it does not say."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8")) if folder else {}
        return float(config.get("sigma_min") or SVD_RANGE[0]), float(config.get("sigma_max") or SVD_RANGE[1])
    except (OSError, ValueError, TypeError, AttributeError):
        return SVD_RANGE
