"""Microbenchmarks that decide how a device is used: number format, threads, a convolution's form, its rate.

Each is a dictionary of candidates to seconds, remembered under a key, so it runs once per device and torch version.
The work is of the kind a U-Net does at the sizes the device is for: nano's on a CPU, SVD's elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from ..threads import available_cores
from . import BenchmarkStore

Candidates = Mapping[str, Callable[[], object]]
"""What competes, by name; the first one stays where another is not faster."""

WIN_RATIO = 0.97
"""Share of the first candidate's time that another has to reach: a tie is not worth a change."""

TEMPORAL_FORMS = ("conv3d", "conv2d")
IDLE_PERCENT = 25.0
"""Load of the processor up to which a benchmark that nobody asked for is believed."""


def benchmark(
    store: BenchmarkStore, name: str, candidates: Candidates, timer: Timer, *, anew: bool = False
) -> dict[str, float]:
    """Seconds of each candidate, remembered under ``name``; ``anew`` does not look at what is remembered."""
    stored = None if anew else recall(store, name, candidates)
    if stored is not None:
        return stored
    with torch.no_grad():
        seconds = timer.compare(candidates)
    store.put(name, seconds)
    return seconds


def recall(store: BenchmarkStore, name: str, candidates: Iterable[str]) -> dict[str, float] | None:
    """The seconds stored under ``name``, in the order of ``candidates``; None unless all of those competed."""
    stored = store.get(name)
    candidates = list(candidates)
    if not isinstance(stored, dict) or set(stored) != set(candidates):
        return None
    return {candidate: float(stored[candidate]) for candidate in candidates}


def fastest(seconds: Mapping[str, float]) -> str:
    """The fastest candidate, the first one where nothing beats it clearly."""
    first, best = next(iter(seconds)), min(seconds, key=lambda candidate: seconds[candidate])
    return best if seconds[best] < WIN_RATIO * seconds[first] else first


def is_idle(load: Callable[[], float] = lambda: psutil.cpu_percent(interval=0.1)) -> bool:
    """Whether others leave this machine's processor alone: on a busy one fewer threads look better than they are."""
    return load() < IDLE_PERCENT


def dtype_candidates() -> Candidates:
    """A CPU's convolutions and matrix products of nano's sizes in float32 and in bfloat16."""
    cpu = torch.device("cpu")
    return {str(dtype).removeprefix("torch."): unet_workload(cpu, dtype) for dtype in (torch.float32, torch.bfloat16)}


def unet_workload(device: torch.device, dtype: torch.dtype) -> Callable[[], Tensor]:
    """A spatial convolution and a feed-forward layer: what most of a U-Net's time goes into."""
    channels, cells = (64, (18, 32)) if device.type == "cpu" else (320, (36, 64))
    frames = _noise((14, channels, *cells), device, dtype)
    weight = _noise((channels, channels, 3, 3), device, dtype)
    widen = _noise((channels, 8 * channels), device, dtype)

    def run() -> Tensor:
        features = functional.conv2d(frames, weight, padding=1)
        return features.flatten(2).transpose(1, 2) @ widen

    return run


def thread_counts(environ: Mapping[str, str] = os.environ) -> list[int]:
    """Counts worth trying, the physical cores first; none where OMP_NUM_THREADS says what the user wants."""
    if environ.get("OMP_NUM_THREADS"):
        return []
    logical = available_cores()
    physical = min(psutil.cpu_count(logical=False) or logical, logical)
    return list(dict.fromkeys([physical, logical, max(1, physical // 2), 1]))


def thread_candidates(counts: list[int], dtype: torch.dtype) -> Candidates:
    """The same work with each number of threads; torch's own number is back after every run."""
    run = unet_workload(torch.device("cpu"), dtype)

    def with_count(count: int) -> Callable[[], object]:
        def call() -> Tensor:
            with num_threads(count):
                return run()

        return call

    return {str(count): with_count(count) for count in counts}


@contextmanager
def num_threads(count: int | None) -> Iterator[None]:
    """``count`` threads within the block; None leaves torch's number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def temporal_conv_candidates(device: torch.device, dtype: torch.dtype) -> Candidates:
    """A convolution over time alone, (3, 1, 1): as Conv3d, and as Conv2d over (frames, cells)."""
    channels, frames, height, width = (64, 14, 18, 32) if device.type == "cpu" else (320, 25, 36, 64)
    clip = _noise((1, channels, frames, height, width), device, dtype)
    weight = _noise((channels, channels, 3, 1, 1), device, dtype)
    return {
        "conv3d": lambda: functional.conv3d(clip, weight, padding=(1, 0, 0)),
        "conv2d": lambda: functional.conv2d(clip.flatten(3), weight[..., 0], padding=(1, 0)).view_as(clip),
    }


def matmul_rate(device: torch.device, dtype: torch.dtype, timer: Timer) -> float:
    """FLOP/s of a large matrix product, which costs 2 N^3 of them."""
    side, repeats = (768, 1) if device.type == "cpu" else (4096, 8)
    matrix = _noise((side, side), device, dtype)

    def products() -> None:
        for _ in range(repeats):
            matrix @ matrix

    return 2.0 * side**3 * repeats / timer.seconds(products)


def _noise(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers of an ordinary size: zeros and subnormals have speeds of their own."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(shape, generator=generator, device=device).to(dtype)


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done everything that was launched on it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True)
class Timer:
    """Times calls; ``sync`` waits for the device and ``clock`` counts seconds.

    The shortest of several runs is what a call costs: everything that disturbs a run makes it longer. Calls that
    compete take turns, so that what disturbs one disturbs the others too.
    """

    sync: Callable[[], None]
    clock: Callable[[], float] = time.perf_counter
    runs: int = 5
    max_seconds: float = 1.0
    """Seconds of all runs together after which no new turn begins."""

    @classmethod
    def of(cls, device: torch.device) -> Timer:
        return cls(sync=lambda: synchronize(device))

    def seconds(self, call: Callable[[], object]) -> float:
        """The shortest run of ``call``."""
        return self.compare({"": call})[""]

    def compare(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """The shortest run of each of ``calls``; the first run of each only warms up."""
        for call in calls.values():
            call()
        self.sync()
        best = dict.fromkeys(calls, float("inf"))
        began = self.clock()
        for _ in range(self.runs):
            for name, call in calls.items():
                started = self.clock()
                call()
                self.sync()
                best[name] = min(best[name], self.clock() - started)
            if self.clock() - began > self.max_seconds:
                break
        return best
