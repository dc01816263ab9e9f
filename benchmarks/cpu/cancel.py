"""How soon a cancel ends a full-size clip on this processor: within a step, within reading the still, within decoding.

SVD-XT with random weights at 1024x576 in the number format that this processor takes, ten to twelve GiB. Somebody cancels at
random moments of each stage. A clip of it takes an hour here, so it is never run to its end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from svd_ui.catalog import STABILITY_ROWS
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import plan_for
from svd_ui.core.interruptible import interruptible_reading
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.denoiser import Conditioning
from svd_ui.core.sampling.samplers import seeded
from svd_ui.errors import Cancelled
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.tiny import SVD_SCHEDULER

from ..ours import CLIP_NORMALISATION, still
from ..report import Row
from ..stock import COMPONENTS, CONFIGS, fill

WITHIN = 2.0
LATEST = {"reading the still": 8.0, "a step": 40.0, "decoding": 25.0}
"""Seconds of each stage within which somebody cancels: past its first and largest layers."""


class Impatient:
    """A token that is set ``after`` seconds; it notes when that was, and the longest time in which nobody asked."""

    def __init__(self, after: float) -> None:
        self.began = self._asked = time.perf_counter()
        self.longest = 0.0
        self.at = self.began + after

    def is_set(self) -> bool:
        now = time.perf_counter()
        self.longest, self._asked = max(self.longest, now - self._asked), now
        return now >= self.at


def rows(runs: int = 3) -> list[Row]:
    runtime, clip = _runtime()
    draw = random.Random(0)
    found = [Row("full size computes in", str(runtime.plan.dtype).removeprefix("torch."), note=_about(clip))]
    for name, work in _stages(runtime, clip):
        late, longest = [], 0.0
        for _ in range(runs):
            token = Impatient(draw.uniform(0.5, LATEST[name]))
            try:
                work(token)
                late.append(0.0)  # over before
            except Cancelled:
                late.append(time.perf_counter() - token.at)
            longest = max(longest, token.longest)
        note = "longest without looking: " + f"{longest:.2f} s; cancels: " + ", ".join(f"{each:.2f}" for each in late)
        found.append(Row(f"cancelled within {name}", max(late), "s", at_most=WITHIN, note=note))
    return found


def _runtime() -> tuple[Runtime, ClipSpec]:
    config, row = CONFIGS["full"], next(row for row in STABILITY_ROWS if row.id == "svd-xt")
    clip = ClipSpec.of(GenerationRequest(), row)
    plan = plan_for(Settings(devices="cpu"), clip=clip)
    modules = {}
    for seed, name in enumerate(COMPONENTS):
        modules[name] = config.build(name, plan.module_dtype(name)).to_empty(device="cpu")
        fill(modules[name], torch.Generator().manual_seed(seed))
    return Runtime.around(row, plan, modules, CLIP_NORMALISATION, EulerDiscreteScheduler(**SVD_SCHEDULER)), clip


def _stages(runtime: Runtime, clip: ClipSpec) -> Iterator[tuple[str, Callable[[Impatient], object]]]:
    picture = still(CONFIGS["full"])
    size = (1, clip.num_frames, runtime.latent_channels, clip.height // runtime.patch, clip.width // runtime.patch)
    latents = torch.randn(size, generator=seeded(0))
    cond = Conditioning(torch.randn(1, 1, 1024, generator=seeded(1)), latents, torch.tensor([[6.0, 127.0, 0.02]]))

    def read(token: Impatient) -> object:
        with interruptible_reading(runtime, clip, token):
            return condition(runtime, picture, clip, seeded(0))

    yield "reading the still", read
    yield "a step", lambda token: next(sample(SamplingContext(runtime, cond, clip, seeded(0), token)))
    yield "decoding", lambda token: list(decode(decoder_of(runtime, picture), latents, 8, token))


def _about(clip: ClipSpec) -> str:
    threads = f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)
    return f"SVD-XT, random weights, {clip.num_frames} frames of {clip.width}x{clip.height}, {threads}"
