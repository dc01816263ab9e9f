"""Guidance split over two halves of one thread each, beside one device of one thread: a mid-size model, steps in turn.

One thread a half, so that each half is to one device what one of two cards is to one: neither has more than it had alone.
Wants two free cores. Where there are none, the processor time of the first half tells what they would make of it: while it
computes, the other half does. A processor's two halves share its memory, which two cards do not.

python -m benchmarks.cpu two_devices
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.core.second import Half
from svd_ui.request import GenerationRequest
from tests.tiny import save_tiny_svd

from ..clips import in_turn, median_ratio
from ..report import Row
from ..stock import CONFIGS

CPU = torch.device("cpu")
ALONE = Plan(CPU, PROFILES["cpu"], torch.float32, "sdpa", threads=1)
TURN = replace(ALONE, profile=PROFILES["8gb"].model_copy(update={"offload": "none"}))
"""One after the other, as the halves are: in one batch a processor's caches are used in another way."""
STEPS = 2


def rows(runs: int = 7, channels: tuple[int, ...] = (64, 128, 256, 256)) -> list[Row]:
    config, threads = CONFIGS["mid"], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            size = (config.width, config.height)
            path = save_tiny_svd(Path(folder) / "mid", channels=channels, num_frames=config.num_frames, size=size)
            row = folder_row(path)
            two = Runtime(row, path, replace(TURN, second=CPU))
            with closing(Runtime(row, path, TURN)) as one, closing(two):
                two.second = Half(two, path)
                ways = {"one": _clip(one), "two": _clip(two)}
                made = in_turn(ways, 1)  # warms up
                took = in_turn(ways, runs)
    finally:
        torch.set_num_threads(threads)
    seconds = {name: [clip[0] for clip in clips] for name, clips in took.items()}
    work = {name: [clip[1] for clip in clips] for name, clips in took.items()}
    off = float((made["two"][0][2] - made["one"][0][2]).abs().max())
    each = ", ".join(f"{name} {statistics.median(took) / STEPS:.3f} s" for name, took in seconds.items())
    return [
        Row("guided step on two halves over one", median_ratio(seconds["two"], seconds["one"]), "x", note=each),
        Row("processor time of the first half over one", median_ratio(work["two"], work["one"]), "x", at_most=0.6),
        Row("difference of the latents", off, at_most=1e-5),
    ]


def _clip(runtime: Runtime) -> Callable[[], tuple[float, float, torch.Tensor]]:
    """Makes a clip of ``STEPS`` guided steps; (seconds of them, those this thread computed, its latents)."""
    config = CONFIGS["mid"]
    values = {"width": config.width, "height": config.height, "num_frames": config.num_frames, "seed": 1}
    asked = GenerationRequest(image="sha256:" + "0" * 64, num_inference_steps=STEPS, max_guidance_scale=3.0, **values)
    clip = ClipSpec.of(asked, runtime.row)

    def run() -> tuple[float, float, torch.Tensor]:
        from ..ours import still

        generator = seeded(1)
        cond = condition(runtime, still(config), clip, generator)
        began, own = time.perf_counter(), time.thread_time()
        *_, last = sample(SamplingContext(runtime, cond, clip, generator))
        return time.perf_counter() - began, time.thread_time() - own, last.latents

    return run
