"""``doctor --benchmark``, and the little of it that a worker runs by itself when it first starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from ...events import Timed
from ..devices import Plan, has_conv3d, rate_key, temporal_key, threads_for
from ..number_formats import bfloat16_units
from . import BenchmarkStore, attention, key, microbenchmarks
from .microbenchmarks import Timer


@dataclass(frozen=True)
class UNetLevels:
    """The part of a U-Net's configuration that decides its attention's shapes."""

    down_block_types: tuple[str, ...]
    block_out_channels: tuple[int, ...]
    num_attention_heads: tuple[int, ...]


ATTENDING, PLAIN = "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"
SVD = UNetLevels((ATTENDING, ATTENDING, ATTENDING, PLAIN), (320, 640, 1280, 1280), (5, 10, 20, 20))
NANO = UNetLevels((PLAIN, ATTENDING, ATTENDING), (64, 96, 128), (2, 3, 4))
SVD_CLIP, NANO_CLIP = (2, 25, 72, 128), (1, 14, 18, 32)
"""(clips, frames, height, width) of the latents at the size a checkpoint is for; SVD's two are those of guidance."""


def quick_benchmark(plan: Plan) -> None:
    """What predictions, the number of threads and a convolution's form need and nobody measured yet.

    Well under two seconds, once per machine. A busy processor is asked again at the next start.
    """
    name, timer = plan.info.name, Timer.of(plan.device)
    if plan.flops_per_second is None:
        with microbenchmarks.num_threads(plan.threads):
            _rate(plan.benchmarks, name, plan.device, plan.dtype, timer)
    counts = microbenchmarks.thread_counts() if plan.device.type == "cpu" else []
    needed: dict[str, tuple[str, ...]] = (
        {temporal_key(name, plan.dtype): microbenchmarks.TEMPORAL_FORMS} if has_conv3d(plan.info) else {}
    )
    needed |= {key(name, "threads"): tuple(map(str, counts))} if len(counts) > 1 else {}
    if (
        all(microbenchmarks.recall(plan.benchmarks, what, options) for what, options in needed.items())
        or not microbenchmarks.is_idle()
    ):
        return
    _threads(plan, plan.benchmarks, name, timer, anew=False)
    with microbenchmarks.num_threads(threads_for(name, plan.benchmarks)):
        if has_conv3d(plan.info):
            _temporal(plan, name, timer, anew=False)


@torch.no_grad()
def full_benchmark(plan: Plan) -> list[Timed]:
    """Measure every choice of the plan's device anew and remember the fastest. Takes seconds, never a minute."""
    return list(_all(plan))


def _all(plan: Plan) -> Iterator[Timed]:
    info = plan.info
    timer = Timer.of(plan.device)
    on_cpu = info.kind == "cpu"
    count = None
    if on_cpu:
        yield from _formats(plan, info.name, timer)
        yield from _thread_rows(plan, info.name, timer)
        count = threads_for(info.name, plan.benchmarks)
    with microbenchmarks.num_threads(count):
        for dtype in (torch.float32, torch.bfloat16) if on_cpu else (torch.float16, torch.bfloat16, torch.float32):
            yield _rate(plan.benchmarks, info.name, plan.device, dtype, timer, chosen=dtype == plan.dtype)
        if has_conv3d(info):
            forms = _temporal(plan, info.name, timer, anew=True)
            yield from _rows("convolution over time", forms, microbenchmarks.fastest(forms))
        yield from _attention(plan)


def _formats(plan: Plan, name: str, timer: Timer) -> Iterator[Timed]:
    """Both are shown; bfloat16 is only ever chosen by a CPU that has units for it."""
    seconds = microbenchmarks.benchmark(
        plan.benchmarks, key(name, "number format"), microbenchmarks.dtype_candidates(), timer, anew=True
    )
    units = bfloat16_units()
    chosen = microbenchmarks.fastest(seconds) if units else "float32"
    notes = {"bfloat16": f"has {units}" if units else "no units for it"}
    yield from _rows("number format", seconds, chosen, notes=notes)


def _threads(plan: Plan, store: BenchmarkStore, name: str, timer: Timer, *, anew: bool) -> dict[str, float]:
    """Seconds with each number of threads; none where the number is not ours to choose."""
    counts = microbenchmarks.thread_counts() if plan.device.type == "cpu" else []
    candidates = microbenchmarks.thread_candidates(counts, plan.dtype)
    return microbenchmarks.benchmark(store, key(name, "threads"), candidates, timer, anew=anew) if counts else {}


def _thread_rows(plan: Plan, name: str, timer: Timer) -> Iterator[Timed]:
    """A busy processor makes fewer threads look better: then the figures are shown and not believed."""
    idle = microbenchmarks.is_idle()
    seconds = _threads(plan, plan.benchmarks if idle else BenchmarkStore(), name, timer, anew=True)
    if not seconds:
        setting = os.environ.get("OMP_NUM_THREADS", "")
        yield Timed(what="threads", choice=setting, chosen=True, note="set by OMP_NUM_THREADS")
        return
    note = "" if idle else "not remembered: the processor is busy with other work"
    ordered = dict(sorted(seconds.items(), key=lambda item: int(item[0])))
    chosen = str(threads_for(name, plan.benchmarks))
    yield from _rows("threads", ordered, chosen, notes=dict.fromkeys(ordered, note))


def _rate(
    store: BenchmarkStore, name: str, device: torch.device, dtype: torch.dtype, timer: Timer, *, chosen: bool = False
) -> Timed:
    rate = microbenchmarks.matmul_rate(device, dtype, timer)
    store.put(rate_key(name, dtype), rate)
    label = str(dtype).removeprefix("torch.")
    return Timed(what="matrix products", choice=label, chosen=chosen, note=f"{rate / 1e12:.3g} TFLOP/s")


def _temporal(plan: Plan, name: str, timer: Timer, *, anew: bool) -> dict[str, float]:
    candidates = microbenchmarks.temporal_conv_candidates(plan.device, plan.dtype)
    return microbenchmarks.benchmark(plan.benchmarks, temporal_key(name, plan.dtype), candidates, timer, anew=anew)


def _attention(plan: Plan) -> Iterator[Timed]:
    """Every candidate at every shape of a clip; those that cannot run here have a line too."""
    candidates, absent = attention.candidates_for(plan.device)
    levels, clip = (NANO, NANO_CLIP) if plan.device.type == "cpu" else (SVD, SVD_CLIP)
    for shape, timings in attention.benchmark_shapes(plan, levels, clip, candidates):
        seconds = dict.fromkeys(candidates, None) | dict(timings.seconds)
        yield from _rows("attention", seconds, timings.winner, str(shape), timings.notes)
    for name, why in absent.items():
        yield Timed(what="attention", choice=name, note=why)


def _rows(
    what: str, seconds: Mapping[str, float | None], chosen: str, shape: str = "", notes: Mapping[str, str] | None = None
) -> Iterator[Timed]:
    for option, each in seconds.items():
        milliseconds = None if each is None else round(1000 * each, 4)
        note = (notes or {}).get(option, "")
        yield Timed(
            what=what, shape=shape, choice=option, milliseconds=milliseconds, chosen=option == chosen, note=note
        )
