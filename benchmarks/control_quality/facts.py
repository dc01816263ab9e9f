"""Exact facts on SVD-XT that need no weights: how often a method asks the U-Net, for how many frames, in which format.

The methods, the samplers and the plans are the real ones with SVD-XT's schedule and guidance; in place of its modules stand
some that answer with zeros. What a call takes is counted on full-size SVD-XT on the meta device (``benchmarks/meta.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from PIL import Image
from torch import Tensor, nn

from benchmarks.meta import RESIDENT, Ours
from benchmarks.nano_quality.tracks import Frames
from benchmarks.ours import CLIP_NORMALISATION
from benchmarks.report import Row
from benchmarks.stock import SVD_SCHEDULER
from svd_ui.catalog import STABILITY_ROWS
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.families import verbs_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.request import GenerationRequest
from svd_ui.steering.choreography import view_of

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
GIB = 2**30
NATIVE = (25, 72, 128)
MASK, END = ("sha256:" + digit * 64 for digit in "12")
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "plain"},
    "camera": {"kind": "camera", "camera": "push in"},
    "lock": {"kind": "lock", "mask": MASK},
    "drag": {"kind": "drag", "arrows": "0.4,0.4>0.5,0.4", "strokes": "width=0.2:0.4,0.4"},
    "drag, rest lives": {"kind": "drag", "arrows": "0.4,0.4>0.5,0.4", "strokes": "width=0.2:0.4,0.4", "rest": "lives"},
    "brush": {"kind": "brush", "mask": MASK},
    "end frame": {"kind": "end_frame", "image": END},
    "loop": {"kind": "loop"},
    "loop on a path": {"kind": "loop", "camera": "orbit"},
    "extend": {"kind": "extend", "seconds": 8},
    "strength": {"kind": "motion_strength", "strength": 1.0},
}
FOLLOWS_A_PLAN = ("camera", "lock", "drag", "drag, rest lives", "brush", "loop on a path")


class UNet(nn.Module):
    """Counts what it is asked."""

    config = SimpleNamespace(in_channels=8, cross_attention_dim=1024)
    attn_processors: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []
        self.dtypes: set[torch.dtype] = set()

    def set_attn_processor(self, processor: Any) -> None:
        """There is no attention."""

    def forward(self, sample: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        self.calls.append((sample.shape[0], sample.shape[1]))
        self.dtypes.add(sample.dtype)
        return (torch.zeros_like(sample[:, :, :4]),)


class Vae(nn.Module):
    config = SimpleNamespace(scaling_factor=0.18215, block_out_channels=(1, 1, 1, 1), force_upcast=True)
    dtype = torch.float32

    def encode(self, pixels: Tensor) -> Any:
        """The mean of each cell's colours, in every channel."""
        cells = nn.functional.avg_pool2d(pixels, 8).mean(dim=1, keepdim=True).expand(-1, 4, -1, -1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: cells))

    def decode(self, latents: Tensor, num_frames: int) -> Any:
        pixels = nn.functional.interpolate(latents[:, :3], scale_factor=8)
        return SimpleNamespace(sample=pixels)


class Clip(nn.Module):
    config = SimpleNamespace(image_size=224)
    dtype = torch.float32

    def forward(self, pixels: Tensor) -> Any:
        return SimpleNamespace(image_embeds=torch.zeros(len(pixels), 1024))


@dataclass
class Facts:
    """Of one clip. ``evaluations`` count a guided call, whose batch is 2, twice."""

    evaluations: int
    said: float
    frames: int
    batch: int
    length: int
    formats: dict[str, str] = field(default_factory=dict)


def facts(name: str, dtype: torch.dtype = torch.float16, size: tuple[int, int] = (256, 144)) -> Facts:
    """``size`` (width, height) decides nothing of them. Without gradients."""
    plan = Plan(torch.device("cpu"), RESIDENT, dtype, "sdpa", exact=False)
    unet = UNet()
    modules = {"unet": unet, "vae": Vae(), "image_encoder": Clip()}
    runtime = Runtime.around(XT, plan, modules, CLIP_NORMALISATION, EulerDiscreteScheduler(**SVD_SCHEDULER))
    asked = {"width": size[0], "height": size[1], "seed": 1, "method": METHODS[name]}
    clip = ClipSpec.of(GenerationRequest.model_validate(asked), XT)
    still, method = Image.fromarray(_noise(size, 0)), clip.request.method
    pictures = {MASK: _left(size), END: Image.fromarray(_noise(size, 1))}
    generator = seeded(1)
    cond = condition(runtime, still, clip, generator)
    choreography = method.choreography(view_of(clip, still, size, pictures.__getitem__))
    context = SamplingContext(runtime, cond, clip, generator, decoder=decoder_of(runtime, still, clip, still, choreography))  # fmt: skip
    *_, last = sample(context)
    calls, formats = list(unet.calls), {"latents": _format(last.latents), "U-Net": _names(unet.dtypes)}
    if context.stage is not None and name in FOLLOWS_A_PLAN:
        reference, keep = verbs_of(XT).reference(context.stage, clip, context.still)
        formats |= {"reference": _format(reference), "keep": _format(keep)}
    return Facts(
        sum(batch for batch, _ in calls),
        method.relative_cost(clip),
        max((frames for _, frames in calls), default=0),
        max((batch for batch, _ in calls), default=0),
        last.latents.shape[1],
        formats,
    )


def rows() -> list[Row]:
    plain = facts("plain").evaluations
    peak = Ours().step(*NATIVE, guided=True).peak
    found = [
        Row(
            "SVD-XT: activations at a guided call of 25 frames, at most",
            peak / GIB,
            "GiB",
            note="1024x576, half precision",
        )
    ]
    return [*found, *(row for name in METHODS for row in _rows(name, plain))]


def _rows(name: str, plain: int) -> Iterator[Row]:
    one = facts(name)
    share = one.evaluations / plain
    formats = ", ".join(f"{what} {format}" for what, format in one.formats.items())
    note = f"{one.evaluations} of {plain}; said {one.said:.4g}; {one.length} frames, {one.frames} at once; {formats}"
    yield Row(f"SVD-XT, {name}: evaluations of the U-Net, of the plain clip's", share, "x", note=note)
    yield Row(f"SVD-XT, {name}: the same, less what is said", abs(share - one.said), "x", at_most=1e-6)


def _noise(size: tuple[int, int], seed: int) -> Frames:
    """The same coarse texture for every seed, each moved a little."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    large = Image.fromarray(coarse).resize((size[0] + 8, size[1] + 8), Image.Resampling.BICUBIC)
    return np.asarray(large.crop((4 * seed, 0, 4 * seed + size[0], size[1])))


def _left(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 3, size[1]))
    return mask


def _format(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _names(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(one).removeprefix("torch.") for one in dtypes))
