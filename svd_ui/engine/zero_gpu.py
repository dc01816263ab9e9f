"""The engine of a ZeroGPU Space: a GPU is lent for each clip, to a process that is a copy of this one (``spaces.GPU``).

Models are loaded here, in the main process, on a ``cuda`` that the package ``spaces`` pretends; in the copy they are there.
What is asked for, each event and each error cross the border as plain values. A GPU is lent on behalf of the visitor
whose event this runs in, so ``generate`` is to be driven in that event's thread.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clip import ClipSpec
from ..errors import Cancelled, GpuRefused, GpuTimeShort, SvdUiError, TookTooLong, Unexpected
from ..events import Event
from ..hub import Hub
from ..request import GenerationRequest
from ..settings import Settings
from . import CancelToken, Device, Engine, Estimate, Timed, waited
from .error_mapping import mapped
from .estimates import estimate
from .local import LocalEngine
from .stages import Stages

if TYPE_CHECKING:
    from ..core.devices import Plan

log = logging.getLogger(__name__)
CUDA = "cuda:0"
USUAL_SECONDS = 60
"""What ``spaces`` asks for where nobody says, for clips whose time is not known."""
LEAST_SECONDS, MOST_SECONDS = 15, 40 * 60
"""A process has to begin and weights have to move; the longest call that ZeroGPU lends to anybody."""
BEGINNING_SECONDS, STILL_SECONDS = 8.0, 20.0
MARGIN = 1.25
"""Of a prediction: what goes beyond the time that was asked for is stopped."""
ASSUMED_FLOPS = 1.5e14
"""FLOP/s of half an RTX PRO 6000 in half precision until a clip was measured. Assumed: nobody has measured it with this app."""
STOP = "stop-asked"
POLL_SECONDS = 0.2
GPU = Callable[..., Callable[..., Iterator[Any]]]
"""``spaces.GPU``: (a generator function, ``duration``) => the same, run where a GPU is."""


class ZeroStages(Stages):
    """Stages that decide as the main process did: in the copy the real card may go by another name."""

    first: Plan | None = None

    def warm_up(self) -> None:
        """Nothing is measured: there is no GPU to measure."""
        from ..core import loading

        loading.warm_up()

    def plan(self, profile: str, clip: ClipSpec | None = None) -> Plan:
        plan = super().plan(profile, clip)
        self.first = first = self.first or plan
        fixed = {name: getattr(first, name) for name in ("device", "dtype", "attention", "temporal_conv2d")}
        return replace(plan, compile=False, **fixed)


class ZeroGpuEngine:
    """``Engine`` over ``local`` in processes that GPUs are lent to. ``gpu`` is ``spaces.GPU``; ``predict`` tells a clip's seconds.

    Several clips may be made at once: ZeroGPU says how many.
    """

    def __init__(self, settings: Settings, gpu: GPU | None = None, local: Engine | None = None) -> None:
        self._settings, self._hub = settings, Hub(settings)
        self._local: Engine = local or LocalEngine(settings, CUDA, ZeroStages(settings, CUDA))
        self._lent = (gpu or _spaces())(self._work, duration=lambda *given: given[-1])
        self._device: Device | None = None
        self.predict: Callable[[GenerationRequest], float | None] = lambda request: self.estimate(request).seconds

    def load(self) -> None:
        """Put the checkpoint on the pretended device. Where that fails each clip loads its own, in the time it is lent."""
        try:
            self._local.prepare("auto")
        except SvdUiError as error:
            log.warning("no model was loaded before the first clip: %s", error)
        self.describe()

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("generate", request, out, cancel)

    def make_still(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        return self._stream("make_still", request, out, cancel)

    def describe(self) -> Device | None:
        """As the main process sees it; its rate is assumed until clips were measured."""
        if self._device is None:
            found = self._local.describe()
            rate = (found and found.flops_per_second) or ASSUMED_FLOPS
            self._device = found and found.model_copy(update={"flops_per_second": rate})
        return self._device

    def prepare(self, checkpoint: str | None) -> None:
        """Nothing: what is not loaded at the start is loaded with each clip."""

    def estimate(self, request: GenerationRequest) -> Estimate:
        return estimate(self._settings, self._hub, request, self._device)

    def expect(self, clips: int) -> None:
        """Nothing: blocks are not compiled here."""

    def benchmark(self) -> list[Timed]:
        return []

    def release(self) -> None:
        """Nothing: no device is held between clips."""

    def close(self) -> None:
        """Nothing: the copies end with this process."""

    def seconds(self, method: str, request: GenerationRequest) -> int:
        """For how long a GPU is asked for. Raises GpuTimeShort where no such time is lent."""
        limit = min(self._settings.max_seconds, MOST_SECONDS)
        makes_still = request.image is None
        predicted = 0.0 if method == "make_still" else self.predict(request)
        if predicted is None:
            return min(USUAL_SECONDS, limit)
        needed = BEGINNING_SECONDS + predicted + (STILL_SECONDS if makes_still else 0.0)
        if needed > limit:
            raise GpuTimeShort(needed=math.ceil(needed), limit=limit)
        return min(max(LEAST_SECONDS, math.ceil(needed * MARGIN)), limit)

    def _work(
        self, method: str, request: GenerationRequest, out: Path, asked: float, seconds: int
    ) -> Iterator[Event | SvdUiError]:
        """In the copy, which has the GPU; it was ``asked`` for at that time. An error is a value: an exception would only be
        told by its name.
        """
        try:
            yield from waited(time.monotonic() - asked)
            yield from getattr(self._local, method)(request, out, StopFile(out / STOP))
        except Exception as error:
            yield mapped(error)

    def _stream(self, method: str, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        seconds = self.seconds(method, request)
        if cancel.is_set():
            raise Cancelled()
        with (
            _handing_on(cancel, out / STOP) as stop,
            _mapped(seconds),
            closing(self._lent(method, request, out, time.monotonic(), seconds)) as told,  # type: ignore[type-var]
        ):
            try:
                for event in told:
                    if isinstance(event, SvdUiError):
                        raise event
                    yield event
            except GeneratorExit:
                stop()  # closing waits for the copy, which would go on until its next event
                raise


class StopFile:
    """A CancelToken that is set by a file: nothing else reaches a process that began before the clip was asked for."""

    def __init__(self, flag: Path) -> None:
        self._flag = flag

    def is_set(self) -> bool:
        return self._flag.exists()


@contextmanager
def _handing_on(cancel: CancelToken, flag: Path) -> Iterator[Callable[[], None]]:
    """Within the block ``flag`` appears when ``cancel`` is set, or at once when what is given is called."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if cancel.is_set():
                flag.touch()
                return

    flag.parent.mkdir(parents=True, exist_ok=True)
    flag.unlink(missing_ok=True)
    watching = threading.Thread(target=watch, name="svd-ui-stop", daemon=True)
    watching.start()
    try:
        yield flag.touch
    finally:
        ended.set()
        watching.join()
        with suppress(OSError):
            flag.unlink(missing_ok=True)


@contextmanager
def _mapped(seconds: int) -> Iterator[None]:
    """What ``spaces`` raises, as ours. It raises gradio's error for the page, with a title, or a RuntimeError."""
    try:
        yield
    except SvdUiError:
        raise
    except Exception as error:
        title, text = str(getattr(error, "title", "")), plain(str(getattr(error, "message", error)))
        log.warning("ZeroGPU: %s: %s", title or type(error).__name__, text)
        raise refusal(title, text, seconds) from error


def refusal(title: str, text: str, seconds: int) -> SvdUiError:
    """The error for ZeroGPU's ``title`` and ``text``, of a call that asked for ``seconds``."""
    if text.startswith("Connection closed by visitor"):
        return Cancelled()
    if title == "ZeroGPU worker error" and text == "GPU task aborted":
        return TookTooLong(seconds=seconds)
    if title == "ZeroGPU illegal duration":
        remedy = (
            "Use fewer steps, fewer frames or a smaller size, or choose Fast or Draft; signed in you are lent more."
        )
    elif title in {"ZeroGPU quota exceeded", "ZeroGPU pending credits exceeded"}:
        remedy = "Sign in for more time, use fewer steps or frames, or come back later."
    elif title in {"ZeroGPU queue timeout", "ZeroGPU client error"}:
        remedy = "Try again in a minute."
    else:
        return Unexpected(detail=f"ZeroGPU: {text}"[:160])
    return GpuRefused(reason=text.rstrip(". ") + ".", remedy=remedy)


def plain(text: str) -> str:
    """Without the markup of a web page, or the links of Markdown."""
    text = re.sub(r"<[^>]*>", " ", text)
    return " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).split())


def _spaces() -> GPU:
    import spaces

    gpu: GPU = spaces.GPU
    return gpu
