"""Where the device is: one protocol, however the work is run, and the lock that lets one clip at a time use it.

Implementations are imported by name (``engine.local``, ``engine.worker``); this module stays torch-free
because the page and the command line read it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from filelock import FileLock, Timeout

from ..errors import Cancelled
from ..events import CancelToken as CancelToken
from ..events import Event, Waited
from ..events import Timed as Timed
from ..events import never as never
from ..notes import Note
from ..request import Frozen, GenerationRequest
from ..settings import Settings

NOTICED_SECONDS = 0.5
"""A device that comes so soon was not waited for."""


class Device(Frozen):
    """What runs the model, and in which state it is."""

    kind: str
    name: str
    id: str = ""  # of the physical device; empty where only its kind is known
    total_bytes: int | None = None
    free_bytes: int | None = None
    profile: str = "auto"
    profile_reason: Note | None = None
    attention: str = "sdpa"
    attention_reason: Note | None = None
    dtype: str = "float32"
    loaded_checkpoint: str | None = None
    measured: bool = True
    flops_per_second: float | None = None  # matrix products in ``dtype``, measured once and remembered
    threads: int | None = None
    build_mismatch: Note | None = None  # why the PyTorch installed cannot use a card that is here
    place: str = ""  # as SVD_UI_DEVICES names it: cuda:0
    second: Device | None = None  # makes the other half of guided steps; of it no more is told than what it is
    others: tuple[str, ...] = ()  # where SVD_UI_DEVICES leaves it to us: what else there is to work with


class Remedy(Frozen):
    """Request fields that make a clip fit."""

    values: dict[str, Any]


class Estimate(Frozen):
    """Expected cost of a request; None where it is not known.

    ``seconds`` start when the job does, weights in memory; ``basis`` tells where they come from: clips like it that
    were made here, or counted operations over the device's measured rate. ``profile`` is the one that ``peak_bytes``
    holds for (what ``auto`` means for this clip). ``cost_ratio`` is the share of the exact clip's operations.
    """

    seconds: float | None = None
    basis: Literal["measured", "computed"] | None = None
    peak_bytes: int | None = None
    profile: str | None = None
    fits: bool | None = None
    remedy: Remedy | None = None
    cost_ratio: float | None = None


@runtime_checkable
class Engine(Protocol):
    """A request goes in, a stream of events comes out."""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        """Yield events, the last one ``Finished``; files are written into the directory ``out``.

        ``request`` may be unresolved (the engine resolves it). Raises an ``SvdUiError``; ``Cancelled`` within
        one step of ``cancel`` being set, with device memory freed.
        """

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        """Only the first frame of ``request.prompt``; ends in ``Finished`` whose result has no video."""

    def describe(self) -> Device | None:
        """The device, or None while it is not known yet; a worker's answer never waits."""

    def prepare(self, checkpoint: str | None) -> None:
        """Load ``checkpoint`` so that the next clip starts at once; None only imports what a clip needs."""

    def estimate(self, request: GenerationRequest) -> Estimate: ...

    def expect(self, clips: int) -> None:
        """Say how many clips wait for this engine: what pays over several, such as compiling, is decided by it."""

    def benchmark(self) -> list[Timed]:
        """Measure the choices this device offers (attention, number format, threads) and remember the fastest."""

    def release(self) -> None:
        """Free device memory; the next clip loads again."""

    def close(self) -> None:
        """Stop for good."""


def waited(seconds: float) -> Iterator[Event]:
    """The word that a clip has its device now, after it was somebody else's; none for a moment."""
    if seconds >= NOTICED_SECONDS:
        yield Waited(seconds=seconds)


def lock_path(settings: Settings, device: str | None = None) -> Path:
    """The lock file of ``device``, an id as it reports it (None: what the settings name).

    A card's id is its own; the processors of machines that share a data folder are told apart by these.
    """
    name = re.sub(r"\W+", "-", device or settings.devices)
    if settings.is_shared and not name.startswith("gpu-"):
        name = re.sub(r"\W+", "-", f"{name}-{platform.node()}")
    return settings.data_dir / "locks" / f"{name}.lock"


@contextmanager
def device_lock(settings: Settings, device: str | None = None, cancel: CancelToken | None = None) -> Iterator[None]:
    """Wait for the device, hold it, give it back; the system gives it back if the process dies.

    One clip at a time per device, whichever process asks: a lock file in the data folder. Re-entrant within a process, so a caller may hold it around an engine that takes it too. Raises
    ``Cancelled`` when ``cancel`` is set while waiting.
    """
    path, cancel = lock_path(settings, device), cancel or never()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False, is_singleton=True)
    while True:
        if cancel.is_set():
            raise Cancelled()
        try:
            lock.acquire(timeout=0.1)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()
