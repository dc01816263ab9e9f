"""What a benchmark asks of the device: wait, peak memory, a cap on memory, its rate at matrix products.

``Card`` is a CUDA card; ``Host`` stands in for one, so that the same benchmarks run anywhere to be tested: it knows
no peaks and caps nothing.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch

from svd_ui.core.devices import describe

GIB = 1024**3


class Accelerator(Protocol):
    """``total`` is the device's memory in bytes. Peaks are the allocator's, bytes since ``reset_peak``."""

    device: torch.device
    name: str
    dtype: torch.dtype
    total: int | None

    def synchronise(self) -> None:
        """Wait until the device has done everything it was given."""

    def reset_peak(self) -> None:
        """Free what nobody holds and forget the peaks so far."""

    def peak(self) -> int | None:
        """Most bytes in tensors at once; None where the device does not count."""

    def reserved(self) -> int | None:
        """Most bytes the allocator took from the device at once."""

    def capped(self, limit: int | None) -> AbstractContextManager[None]:
        """Within the block no more than ``limit`` bytes can be reserved: beyond it is out of memory."""


class Card:
    """A CUDA card."""

    def __init__(self, device: torch.device) -> None:
        # Never "cuda" without a number: some of torch.cuda's functions want one.
        self.device = torch.device("cuda", device.index if device.index is not None else torch.cuda.current_device())
        torch.cuda.set_device(self.device)
        self.name = torch.cuda.get_device_name(self.device)
        self.total: int | None = torch.cuda.get_device_properties(self.device).total_memory
        self.dtype = torch.float16

    def synchronise(self) -> None:
        torch.cuda.synchronize(self.device)

    def reset_peak(self) -> None:
        self.synchronise()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device)

    def reserved(self) -> int | None:
        return torch.cuda.max_memory_reserved(self.device)

    @contextmanager
    def capped(self, limit: int | None) -> Iterator[None]:
        if limit is None or self.total is None or limit >= self.total:
            yield
            return
        gc.collect()
        torch.cuda.empty_cache()  # what is cached above the cap would never be given back
        torch.cuda.set_per_process_memory_fraction(limit / self.total, self.device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self.device)


class Host:
    """The CPU in the place of a card."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.name = describe("cpu").name
        self.total: int | None = None
        self.dtype = torch.float32

    def synchronise(self) -> None:
        return

    def reset_peak(self) -> None:
        gc.collect()

    def peak(self) -> int | None:
        return None

    def reserved(self) -> int | None:
        return None

    @contextmanager
    def capped(self, limit: int | None) -> Iterator[None]:
        yield


def accelerator(name: str) -> Accelerator:
    """``cuda``, ``cuda:1`` or ``cpu``. Raises SystemExit where there is no such device."""
    device = torch.device(name)
    if device.type == "cpu":
        return Host()
    if device.type != "cuda" or not torch.cuda.is_available():
        raise SystemExit(f"There is no CUDA device {name!r} here; --device cpu --config tiny tries the script itself.")
    return Card(device)


@torch.no_grad()
def matmul_rate(on: Accelerator, rounds: int = 5, products: int = 10) -> float:
    """Operations per second of large matrix products in the model's number format: the device's practical ceiling."""
    side = 8192 if on.device.type == "cuda" else 512
    generator = torch.Generator(on.device).manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator, device=on.device).to(on.dtype) for _ in range(2))
    out = a @ b
    seconds = []
    for _ in range(rounds + 1):  # the first one warms up
        on.synchronise()
        started = time.perf_counter()
        for _ in range(products):
            torch.mm(a, b, out=out)
        on.synchronise()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 * products / statistics.median(seconds[1:])
