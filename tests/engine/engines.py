"""Engines for the worker's tests: built inside its process, by name, without torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from svd_ui.engine import CancelToken, Device
from svd_ui.errors import BadInput, OutOfMemory
from svd_ui.events import Denoising, Event, Loading, left_out
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine


class PromptEngine(FakeEngine):
    """Does what the prompt says; without a prompt, what ``FakeEngine`` does."""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        self.device = self.device.model_copy(update={"loaded_checkpoint": "fake", "name": f"pid {os.getpid()}"})
        word = (request.prompt or "").split()[0] if request.prompt else ""
        if word:
            yield Loading(checkpoint="fake")
            getattr(self, word)()
            yield Denoising(step=1, total=1)
        yield from super().generate(request.model_copy(update={"prompt": "x"}), out, cancel)

    def waits(self) -> None:
        print("clips behind this one:", self.expected)

    def compiles(self) -> None:
        print("compiled code goes to", os.environ["TORCHINDUCTOR_CACHE_DIR"])

    def leaves(self) -> None:
        os._exit(3)

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crashes(self) -> None:
        ctypes.string_at(0)

    def freezes(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def blocks(self) -> None:
        print("blocks from now on", flush=True)
        time.sleep(600)

    def starves(self) -> None:
        raise OutOfMemory(doing="testing", remedy="Do less.")

    def surprises(self) -> None:
        raise MemoryError

    def breaks(self) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")

    def prints(self) -> None:
        print("to stdout", os.environ["TEST_TOKEN"])
        print("to stderr with hf_abcdefghijklmnopqrstuvwx", file=sys.stderr)


def prompted(settings: Settings, device: str | None) -> PromptEngine:
    return PromptEngine(steps=3)


def named(settings: Settings, device: str | None) -> FakeEngine:
    """One that knows which physical device it uses, whatever the settings call it."""
    return FakeEngine(steps=2, device=Device(kind="cuda", name="Fake", id="gpu-1234"))


def slow(settings: Settings, device: str | None) -> FakeEngine:
    return FakeEngine(steps=100, delay=0.1)


class Holding(FakeEngine):
    """Stops at once, and keeps hold of its device's memory."""

    def release(self) -> None:
        time.sleep(600)


def holding(settings: Settings, device: str | None) -> Holding:
    return Holding(steps=100, delay=0.1)


class Misconfigured(FakeEngine):
    """Looks for a device that is not there."""

    def describe(self) -> Device:
        raise BadInput("There is no device 'cuda:9' here.")

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        self.describe()
        yield Loading(checkpoint="fake")


def misconfigured(settings: Settings, device: str | None) -> Misconfigured:
    return Misconfigured()


def broken(settings: Settings, device: str | None) -> FakeEngine:
    raise ImportError("no such library")


class Doomed(FakeEngine):
    """On cuda:1 its process is killed at every job; elsewhere each step takes a moment."""

    def __init__(self, device: str | None, dies: bool = True) -> None:
        super().__init__(steps=3, delay=0.02, device=Device(kind="cuda", name=f"pid {os.getpid()}", id=f"gpu-{device}"))
        self._dies = dies and device == "cuda:1"

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        if self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(request, out, cancel)


def doomed(settings: Settings, device: str | None) -> Doomed:
    return Doomed(device)


def spared(settings: Settings, device: str | None) -> Doomed:
    return Doomed(device, dies=False)


class OffTheBus(FakeEngine):
    """Its device is gone in every process but the first, which dies of it."""

    def __init__(self, mark: Path) -> None:
        super().__init__(steps=2, device=Device(kind="cuda", name="Fake", id="gpu-1"))
        self._mark, self._gone = mark, mark.exists()

    def describe(self) -> Device:
        if self._gone:
            raise BadInput("There is no device 'cuda:0' here.")
        return super().describe()

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        self.describe()
        self._mark.touch()
        raise RuntimeError("CUDA error: GPU is lost")

    def probe(self) -> None:
        self.describe()


def off_the_bus(settings: Settings, device: str | None) -> OffTheBus:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return OffTheBus(settings.data_dir / "gone")


def two_devices(settings: Settings, device: str | None) -> FakeEngine:
    second = Device(kind="cuda", name="Fake", id="gpu-0")
    return FakeEngine(steps=2, device=Device(kind="cuda", name="Fake", id="gpu-1", second=second))


class Tiles(FakeEngine):
    """Says which tiles it was told to leave out, once it was, as the title of what it loads."""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        yield Denoising(step=1, total=1)
        while not (gone := left_out(cancel)) and not cancel.is_set():
            time.sleep(0.01)
        yield Loading(checkpoint="fake", title=",".join(map(str, sorted(gone))))


def tiles(settings: Settings, device: str | None) -> Tiles:
    return Tiles()
