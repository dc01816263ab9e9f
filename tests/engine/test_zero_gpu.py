"""GPUs that are lent for each clip, at the seam of ``spaces.GPU``: what crosses the border, for how long, and what is said."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_ui.engine.zero_gpu import LEAST_SECONDS, USUAL_SECONDS, ZeroGpuEngine, refusal
from svd_ui.errors import (
    Cancelled,
    GpuRefused,
    GpuTimeShort,
    OutOfMemory,
    SvdUiError,
    TookTooLong,
    Unexpected,
)
from svd_ui.events import Denoising, Finished, Waited
from svd_ui.jobs.timing import RunTimer
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine

IMAGE = "sha256:" + "0" * 64


class Lender:
    """``spaces.GPU`` without a GPU: everything is pickled on its way in and out, as between processes; ``refuses`` instead.

    It lends one after ``seconds``.
    """

    def __init__(self, refuses: Exception | None = None, seconds: float = 0.0) -> None:
        self.refuses, self.seconds, self.durations, self.closed = refuses, seconds, list[Any](), 0

    def __call__(self, task: Callable[..., Iterator[Any]], *, duration: Callable[..., Any]) -> Callable[..., Any]:
        def lent(*given: Any) -> Iterator[Any]:
            self.durations.append(duration(*given))
            if self.refuses is not None:
                raise self.refuses
            time.sleep(self.seconds)
            told = task(*pickle.loads(pickle.dumps(given)))
            try:
                for event in told:
                    yield pickle.loads(pickle.dumps(event))
            finally:
                self.closed += 1
                told.close()  # type: ignore[attr-defined]

        return lent


class GradioError(Exception):
    """As ``spaces`` raises it: a message and a title."""

    def __init__(self, title: str, message: str) -> None:
        self.title, self.message = title, message


class Never:
    def is_set(self) -> bool:
        return False


def engine_of(tmp_path: Path, local: FakeEngine, lender: Lender, **settings: Any) -> ZeroGpuEngine:
    return ZeroGpuEngine(Settings(data_dir=tmp_path, **settings), lender, local)


def test_events_of_the_copy_are_told_and_files_are_there(tmp_path: Path) -> None:
    lender = Lender()
    engine = engine_of(tmp_path, FakeEngine(steps=3, delay=0), lender)
    events = list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never()))
    assert isinstance(events[-1], Finished)
    assert (tmp_path / "job" / str(events[-1].result.video)).is_file()
    assert not (tmp_path / "job" / "stop-asked").exists()


@pytest.mark.parametrize("method", ["generate", "make_still"])
def test_waiting_for_a_gpu_is_not_taken_for_loading(tmp_path: Path, method: str) -> None:
    engine = engine_of(tmp_path, FakeEngine(steps=1, delay=0), Lender(seconds=0.7))
    began = time.monotonic()
    watch = RunTimer(began)
    given = GenerationRequest(image=IMAGE if method == "generate" else None, prompt="a kite")
    events = getattr(engine, method)(given, tmp_path / "job", Never())
    first = next(events)
    for event in (first, *events):
        watch.see(event, time.monotonic())
    assert isinstance(first, Waited)
    assert first.seconds >= 0.7
    assert watch.loading <= time.monotonic() - began - first.seconds


def test_an_error_in_the_copy_keeps_its_kind_and_remedy(tmp_path: Path) -> None:
    fails = FakeEngine(steps=2, delay=0, fail=OutOfMemory(doing="denoising", remedy="Take fewer frames."))
    engine = engine_of(tmp_path, fails, Lender())
    with pytest.raises(OutOfMemory, match="Take fewer frames"):
        list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never()))


@pytest.mark.parametrize(
    ("predicted", "limit", "asked"),
    [(40.0, 300, 60), (0.5, 300, LEAST_SECONDS), (200.0, 240, 240), (None, 300, USUAL_SECONDS), (None, 30, 30)],
)
def test_a_gpu_is_asked_for_as_long_as_is_predicted_and_some(
    tmp_path: Path, predicted: float | None, limit: int, asked: int
) -> None:
    lender = Lender()
    engine = engine_of(tmp_path, FakeEngine(steps=1, delay=0), lender, max_seconds=limit)
    engine.predict = lambda request: predicted
    list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never()))
    assert lender.durations == [asked]


def test_longer_than_is_lent_is_said_before_a_gpu_is_asked_for(tmp_path: Path) -> None:
    lender = Lender()
    engine = engine_of(tmp_path, FakeEngine(), lender, max_seconds=300)
    engine.predict = lambda request: 900.0
    with pytest.raises(GpuTimeShort, match="about 908 seconds, and at most 300") as caught:
        list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never()))
    assert "fewer steps" in caught.value.message
    assert lender.durations == []


def test_stop_reaches_the_copy_between_two_events(tmp_path: Path) -> None:
    """The copy sees a file; nothing of this process's memory reaches it."""
    asked = threading.Event()

    class Waits(FakeEngine):
        def _wait(self, cancel: Any) -> None:
            asked.set()
            end = threading.Event()
            for _ in range(600):
                if cancel.is_set():
                    raise Cancelled()
                end.wait(0.05)
            raise AssertionError("nobody said stop")

    lender = Lender()
    engine = engine_of(tmp_path, Waits(steps=2), lender)
    with pytest.raises(Cancelled):
        list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", asked))
    assert lender.closed == 1


def test_who_leaves_gives_the_gpu_back(tmp_path: Path) -> None:
    lender = Lender()
    engine = engine_of(tmp_path, FakeEngine(steps=50, delay=0), lender)
    events = engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never())
    assert any(isinstance(event, Denoising) for event in events)
    events.close()  # type: ignore[attr-defined]
    assert lender.closed == 1
    assert not (tmp_path / "job" / "stop-asked").exists()


@pytest.mark.parametrize(
    ("title", "message", "kind", "says"),
    [
        ("ZeroGPU quota exceeded", "You have exceeded your free ZeroGPU quota (90s requested vs. 20s left).", GpuRefused, "Sign in"),
        ("ZeroGPU illegal duration", "The requested GPU duration (900s) is larger than the maximum allowed", GpuRefused, "fewer steps"),
        ("ZeroGPU queue timeout", 'No GPU was available after 60s. <a href="x">Create</a>', GpuRefused, "Try again in a minute"),
        ("ZeroGPU client error", "No GPU was available", GpuRefused, "Try again in a minute"),
        ("ZeroGPU worker error", "GPU task aborted", TookTooLong, "60 seconds"),
        ("ZeroGPU worker error", "RuntimeError", Unexpected, "RuntimeError"),
        ("", "Connection closed by visitor while queueing", Cancelled, "Stopped"),
    ],
)  # fmt: skip
def test_what_zero_gpu_refuses_is_said_with_what_to_do(
    tmp_path: Path, title: str, message: str, kind: type[SvdUiError], says: str
) -> None:
    engine = engine_of(tmp_path, FakeEngine(), Lender(GradioError(title, message)))
    engine.predict = lambda request: None
    with pytest.raises(kind) as caught:
        list(engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never()))
    assert type(caught.value) is kind
    assert says in caught.value.message
    assert "<" not in caught.value.message
    assert type(refusal(title, message, 60)) is kind


def test_the_plain_decorator_of_spaces_changes_nothing_elsewhere(tmp_path: Path) -> None:
    engine = ZeroGpuEngine(Settings(data_dir=tmp_path), local=FakeEngine(steps=1, delay=0))
    *_, last = engine.generate(GenerationRequest(image=IMAGE), tmp_path / "job", Never())
    assert isinstance(last, Finished)
