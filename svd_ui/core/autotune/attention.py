"""``auto`` attention: every candidate is timed once per device, number format and shape, and the winner remembered.

A candidate has to earn its place: one that raises, or whose result is not SDPA's, is out and the note says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import BadInput
from ...notes import sentence
from ..attention import Attend, attend_with, available, kernel_table, sdpa
from ..devices import Plan
from . import key
from .microbenchmarks import Timer

TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Largest difference from SDPA, over SDPA's largest value: a few steps of the number format."""
MAX_SAMPLE_BYTES = 64 * 2**20
"""Bytes of one tensor that is measured on: enough to fill a GPU, little enough for a full one. A longer batch only
repeats the same work, so it is cut, to a power of two: then few lengths of clips are measured anew."""


@dataclass(frozen=True)
class AttentionShape:
    """One attention call: query, key and value are ``[batch tokens heads head_dim]``."""

    batch: int
    tokens: int
    heads: int
    head_dim: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.tokens} tokens, {self.heads}x{self.head_dim}"

    def sample(self, dtype: torch.dtype) -> AttentionShape:
        """The same with the batch that is measured."""
        row = self.tokens * self.heads * self.head_dim * dtype.itemsize
        batch = max(1, min(self.batch, MAX_SAMPLE_BYTES // row))
        return AttentionShape(2 ** (batch.bit_length() - 1), self.tokens, self.heads, self.head_dim)


def shapes(config: Any, clips: int, frames: int, height: int, width: int) -> list[AttentionShape]:
    """Every self-attention of the U-Net over ``clips`` of ``frames`` with ``height x width`` latent cells.

    Each level that attends has one over the cells of a frame and one over the frames of a cell; the middle block
    attends at the last level's size. ``clips`` counts conditional and unconditional apart where they share a call.
    """
    levels = len(config.block_out_channels)
    heads = config.num_attention_heads
    heads = list(heads) if not isinstance(heads, int) else [heads] * levels
    sizes = [(height, width)]
    while len(sizes) < levels:  # each downsampler is a convolution of stride 2 and padding 1
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    attends = [level for level, kind in enumerate(config.down_block_types) if "CrossAttn" in kind]
    found: list[AttentionShape] = []
    for level in dict.fromkeys([*attends, levels - 1]):
        cells = sizes[level][0] * sizes[level][1]
        head_dim = config.block_out_channels[level] // heads[level]
        found.append(AttentionShape(clips * frames, cells, heads[level], head_dim))
        found.append(AttentionShape(clips * cells, frames, heads[level], head_dim))
    return found


@dataclass(frozen=True)
class KernelTimings:
    """Seconds of the candidates that ran right on one shape, notes on the others."""

    seconds: Mapping[str, float]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def winner(self) -> str:
        return min(self.seconds, key=lambda name: self.seconds[name], default="sdpa")


def benchmark_kernels(
    candidates: Mapping[str, Attend], shape: AttentionShape, dtype: torch.dtype, timer: Timer, device: torch.device
) -> KernelTimings:
    """Time ``candidates`` on random tensors of ``shape``."""
    generator = torch.Generator(device).manual_seed(0)
    size = (shape.batch, shape.tokens, shape.heads, shape.head_dim)
    query, key_, value = (torch.randn(size, generator=generator, device=device, dtype=dtype) for _ in range(3))
    expected = sdpa(query, key_, value)
    correct: dict[str, Attend] = {}
    notes: dict[str, str] = {}
    for name, attend in candidates.items():
        try:
            error_ratio = _difference(attend(query, key_, value), expected)
        except torch.OutOfMemoryError:
            raise  # says nothing about the kernel, and the caller knows what to do
        except Exception as error:
            notes[name] = f"left out: {(str(error).splitlines() or [type(error).__name__])[0][:120]}"
            continue
        if error_ratio <= TOLERANCE[dtype]:  # not a number is not
            correct[name] = attend
        else:
            notes[name] = f"left out: its result is off by {error_ratio:.1g}"
    return KernelTimings(
        timer.compare({name: partial(attend, query, key_, value) for name, attend in correct.items()}), notes
    )


def _difference(got: Tensor, expected: Tensor) -> float:
    if got.shape != expected.shape:
        return float("inf")
    return float((got - expected).abs().max() / expected.abs().max())


def candidates_for(device: torch.device) -> tuple[dict[str, Attend], dict[str, str]]:
    """(kernels of ``device`` that load, why the others do not)."""
    names, absent = available(device)
    notes = {name: sentence(why) for name, why in absent.items()}
    found: dict[str, Attend] = {}
    for name in names:
        try:
            found[name] = attend_with(name)
        except BadInput as error:
            notes[name] = error.message
    return found, notes


def kernel_timings(
    plan: Plan,
    candidates: Mapping[str, Attend],
    shape: AttentionShape,
    timer: Timer | None = None,
    *,
    anew: bool = False,
) -> KernelTimings:
    """The plan's remembered timings on ``shape``, or new ones where a candidate is missing from them, or ``anew``."""
    dtype = str(plan.dtype).removeprefix("torch.")
    name = key(plan.info.name, "attention", f"{shape} {dtype}")
    stored = None if anew else plan.benchmarks.get(name)
    if isinstance(stored, dict) and {*stored.get("seconds", {}), *stored.get("notes", {})} == set(candidates):
        return KernelTimings(stored["seconds"], stored["notes"])
    found = benchmark_kernels(candidates, shape, plan.dtype, timer or Timer.of(plan.device), plan.device)
    plan.benchmarks.put(name, {"seconds": dict(found.seconds), "notes": dict(found.notes)})
    return found


def select_kernels(
    unet: Any,
    plan: Plan,
    latents: torch.Size,
    candidates: Mapping[str, Attend] | None = None,
    timer: Timer | None = None,
) -> None:
    """Before a clip of ``latents`` [B F C h w]: choose the kernel of every shape that ``unet`` will attend over.

    Nothing happens where the kernel is fixed or only one is there. A shape that has its kernel costs a look-up.
    """
    table = kernel_table(unet)
    if table is None:
        return
    clips, frames, _, height, width = latents
    missing = [
        shape
        for shape in shapes(unet.config, clips, frames, height, width)
        if (shape.tokens, shape.head_dim) not in table.kernels
    ]
    if not missing:
        return
    found = candidates_for(plan.device)[0] if candidates is None else candidates
    if len(found) < 2:
        return
    for shape in missing:
        winner = kernel_timings(plan, found, shape.sample(plan.dtype), timer).winner
        table.kernels[shape.tokens, shape.head_dim] = found[winner]


def benchmark_shapes(
    plan: Plan, config: Any, size: tuple[int, int, int, int], candidates: Mapping[str, Attend]
) -> Iterator[tuple[AttentionShape, KernelTimings]]:
    """Every shape of a clip of ``size`` (clips, frames, height, width of the latents), benchmarked anew."""
    seen: set[AttentionShape] = set()
    for shape in shapes(config, *size):
        if (sample := shape.sample(plan.dtype)) not in seen:
            seen.add(sample)
            yield sample, kernel_timings(plan, candidates, sample, anew=True)
