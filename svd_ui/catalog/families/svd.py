"""Stable Video Diffusion in plain numbers, and the base of every family: what others do differently they override."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput
from ...notes import Note

if TYPE_CHECKING:
    from ...clip import ClipSpec
    from ...request import Speed
    from ..checkpoint import CheckpointRow
    from ..profiles import ProfileRow

AYS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Sabour et al. 2024, "Align Your Steps" (arXiv 2404.14507), appendix B: the schedule optimised for Stable Video
Diffusion, ten steps from its largest to its smallest sigma."""
SVD_RANGE = (0.002, 700.0)
RHO = 7.0
FOLLOWS_FROM, FOLLOWS_TO = 74.5, 31.0
"""Noise, on SVD's scale, at which a clip that follows a plan begins, and at which it is let go (arXiv 2511.08633's
settings for SVD as sigmas).
"""
LAST_SIGMA = 0.1
"""A walk that ends in a jump from above this sigma computes its last step whole, whatever it reuses before."""


class CheckpointFamily:
    """Checkpoints that are sampled, decoded and costed alike. A subclass says what its own do differently.

    ``id`` is what a row's ``family`` names. ``verbs`` is where its torch half is, a ``core.families.svd.FamilyVerbs``:
    ``module:attribute``, imported when a checkpoint is loaded. ``trainable``: fine-tuning knows how. ``shows`` says what
    people may expect of its clips; ``labels`` and ``help`` replace, by field, what ``request.py`` says of a field that
    means something else here.
    """

    id = ""
    verbs = "svd_ui.core.families.svd:FamilyVerbs"
    trainable = True
    shows = ""
    labels: Mapping[str, str] = {}
    help: Mapping[str, str] = {}
    least_start: float | None = None
    """Share of its first sigma at which a clip may start to move more; None where it knows its own sigmas only."""

    @property
    def kin(self) -> list[str]:
        """Its id and those of the families it is made from, nearest first."""
        return [vars(cls)["id"] for cls in type(self).__mro__ if vars(cls).get("id")]

    def check_row(self, row: CheckpointRow) -> None:
        """Raise BadInput where ``row`` does not say what its kind has to know."""

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

    def renders(self, row: CheckpointRow) -> bool:
        """Whether frames can be made of the latents at any size, and at times between them.

        Then ``output_fps`` is how many there are a second. Else it says how fast they are played.
        """
        return False

    bridges = True
    """Whether its steps are small enough to be asked from two ends in turn."""
    plays_plans = False
    """Whether a clip is the plan itself, played with the still's own pixels, and no model has to follow it."""

    def follows(self, clip: ClipSpec) -> tuple[float, float]:
        """(from, to): the noise between which ``clip`` is held to its plan, in units of its latents."""
        return FOLLOWS_FROM * clip.sigma_scale, FOLLOWS_TO * clip.sigma_scale

    def frames_at_once(self, clip: ClipSpec, profile: ProfileRow) -> int:
        """How many frames of ``clip`` are decoded together where nobody says."""
        return profile.decode_chunk_size

    def rendering_flops(self, clip: ClipSpec) -> float:
        """What rendering frames takes beside what the architecture counts."""
        return 0.0

    def knows_ays(self, row: CheckpointRow) -> bool:
        """Whether the published AYS schedule, made for SVD's range of noise, fits ``row``."""
        return False

    def check(self, clip: ClipSpec) -> None:
        """Raise BadInput where ``clip`` asks for what its checkpoint cannot do."""
        if clip.schedule == "ays" and not self.knows_ays(clip.row):
            raise BadInput(
                f"The AYS schedule only works with Stable Video Diffusion's noise levels, not with {clip.row.title}. "
                "Leave Schedule blank.",
                field="schedule",
            )
        if clip.render_height is not None and not self.renders(clip.row):
            raise BadInput(
                f"{clip.row.title} makes frames of the clip's own size only: leave Output height blank, and set "
                "Width and Height instead.",
                field="render_height",
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


class Svd(CheckpointFamily):
    """Steps are like each other, so features can be reused, and AYS says which few to take."""

    id = "svd"
    shows = "Anything in the picture may move, people too; what was hidden is invented."
    least_start = 1 / 7

    def quicker(self, row: CheckpointRow, speed: Speed) -> dict[str, Any]:
        if speed == "fast":
            return {"cache_interval": 3}
        if self.knows_ays(row):
            return {"schedule": "ays", "num_inference_steps": 10, "cache_interval": 2}
        return {"num_inference_steps": max(1, row.num_inference_steps // 2), "cache_interval": 2}

    def knows_ays(self, row: CheckpointRow) -> bool:
        return row.sigma_reference == SVD_RANGE[1]

    def sigmas(self, clip: ClipSpec) -> list[float]:
        if clip.schedule == "ays" and self.knows_ays(clip.row):
            return ays(clip.num_inference_steps)
        return super().sigmas(clip)


def sigma_range(folder: Path | None) -> tuple[float, float]:
    """(smallest, largest) sigma of a checkpoint's scheduler; SVD's where it does not say."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8")) if folder else {}
        return float(config.get("sigma_min") or SVD_RANGE[0]), float(config.get("sigma_max") or SVD_RANGE[1])
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return SVD_RANGE


def karras(steps: int, low: float, high: float) -> list[float]:
    """Karras et al. 2022 (arXiv 2206.00364, eq. 5), falling from ``high`` to ``low``: sigma ** (1 / rho) is linear."""
    first, last = high ** (1 / RHO), low ** (1 / RHO)
    return [(first + index / max(1, steps - 1) * (last - first)) ** RHO for index in range(steps)]


def ays(steps: int) -> list[float]:
    """``AYS_SVD``, or any other number of steps by log-linear interpolation, as its authors advise.

    Like them it leaves out the smallest sigma, in whose place a run goes to 0.
    """
    return [_between(AYS_SVD, index * (len(AYS_SVD) - 1) / steps) for index in range(steps)]


def _between(known: tuple[float, ...], at: float) -> float:
    """``known`` at a fractional index, log-linearly interpolated."""
    below = min(int(at), len(known) - 2)
    a, b = math.log(known[below]), math.log(known[below + 1])
    return math.exp(a + (at - below) * (b - a))
