"""Post steps at work beside the decoder: they stream, say how far they are, stop, and their faults are their own."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch  # noqa: F401  its import is not what is measured
from PIL import Image

from svd_ui.clip import ClipShape
from svd_ui.engine.post_pipeline import PostPipeline
from svd_ui.errors import Cancelled, DiskFull, PluginFailed, StepRanOut
from svd_ui.events import CancelToken, PostProcessing, never
from svd_ui.post import Frames, FrameStream, PostContext, PostParams
from svd_ui.post.boomerang import Boomerang

SHAPE = ClipShape(25, 1024, 576, 7)
FRAME_BYTES = 1024 * 576 * 3


class Step(PostParams):
    """Does with the frames what the test says."""

    kind: str = "test"

    @classmethod
    def title(cls) -> str:
        return "Test step"

    def apply(self, frames: FrameStream, context: PostContext) -> FrameStream:
        return self.work(frames, context)

    @staticmethod
    def work(frames: FrameStream, context: PostContext) -> FrameStream:
        yield from frames


def step(work: Callable[[FrameStream, PostContext], FrameStream]) -> PostParams:
    return type("Made", (Step,), {"work": staticmethod(work)})()


def decoded(count: int = 25, size: int = 8) -> Iterator[Frames]:
    """A clip as the decoder gives it, a few frames at a time."""
    for first in range(0, count, size):
        yield np.full((min(size, count - first), 576, 1024, 3), first, np.uint8)


def run(
    steps: list[PostParams], take: Callable[[Frames], None] = lambda _: None, cancel: CancelToken | None = None
) -> list[PostProcessing]:
    """All frames through ``steps``; what was said on the way."""
    about: dict[str, Any] = {"still": Image.new("RGB", (8, 8)), "latents": None, "device": "cpu"}
    said: list[PostProcessing] = []
    with PostPipeline(steps, SHAPE, take, cancel or never(), **about) as pipeline:
        for frames in decoded():
            said += pipeline.put(frames)
        said += pipeline.finish()
    return said


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_frames_that_only_pass_take_no_memory() -> None:
    """Within five frames of the clip without a step, however long it is."""

    def plainly() -> None:
        for frames in decoded():
            for index in range(len(frames)):
                frames[index : index + 1].sum()

    without = peak(plainly)
    assert peak(lambda: run([step(Step.work)])) - without < 5 * FRAME_BYTES
    assert peak(lambda: run([step(Step.work)] * 3)) - without < 5 * FRAME_BYTES
    assert peak(lambda: run([Boomerang()])) - without < 5 * FRAME_BYTES, "the way back waits on the disk"
    kept = step(lambda frames, context: iter(list(frames)))
    assert peak(lambda: run([kept])) - without > 10 * FRAME_BYTES, "memory would be seen"


def test_a_slow_step_says_how_far_it_is() -> None:
    def slow(frames: FrameStream, context: PostContext) -> FrameStream:
        for part in frames:
            time.sleep(0.03)
            yield part

    said = run([step(slow)])
    done = [event.done for event in said]
    assert done
    assert done == sorted(done)
    assert {event.total for event in said} == {25}
    assert {event.step for event in said} == {"Test step"}


def test_a_step_that_yields_nothing_for_a_while_may_speak_for_itself() -> None:
    def gathering(frames: FrameStream, context: PostContext) -> FrameStream:
        parts = list(frames)
        for turn in range(1, 6):
            context.progress(turn, 5)
            time.sleep(0.15)
        yield from parts

    assert any(event.total == 5 for event in run([step(gathering)]))


def test_stopping_reaches_into_a_step() -> None:
    cancel, inside = threading.Event(), threading.Event()

    def endless(frames: FrameStream, context: PostContext) -> FrameStream:
        inside.set()
        while True:
            context.progress(0, 1)
            time.sleep(0.01)
        yield from frames

    threading.Thread(target=lambda: (inside.wait(60), cancel.set()), daemon=True).start()
    with pytest.raises(Cancelled):
        run([step(endless)], cancel=cancel)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate")])
def test_running_out_of_memory_names_the_step_to_leave_out(error: Exception) -> None:
    def greedy(frames: FrameStream, context: PostContext) -> FrameStream:
        yield next(frames)
        raise error

    with pytest.raises(StepRanOut) as caught:
        run([step(Step.work), step(greedy), step(Step.work)])
    assert caught.value.params["index"] == 1


def test_a_fault_names_the_step() -> None:
    def faulty(frames: FrameStream, context: PostContext) -> FrameStream:
        yield next(frames)
        raise KeyError("a fault")

    with pytest.raises(PluginFailed, match=r"Test step failed \(KeyError\)"):
        run([step(faulty), step(Step.work)])


def test_a_step_that_gives_nothing_is_a_fault() -> None:
    with pytest.raises(PluginFailed, match="no frames"):
        run([step(lambda frames, context: (part for part in frames if False))])


def test_a_step_may_end_before_the_clip_does() -> None:
    taken: list[Frames] = []

    def three(frames: FrameStream, context: PostContext) -> FrameStream:
        for _ in range(3):
            yield next(frames)

    run([step(three)], taken.append)
    assert sum(map(len, taken)) == 3


def test_what_befalls_the_writer_comes_back() -> None:
    def full(frames: Frames) -> None:
        raise DiskFull()

    with pytest.raises(DiskFull):
        run([step(Step.work)], full)


def test_nothing_is_left_running_when_decoding_fails() -> None:
    before = threading.active_count()
    about: dict[str, Any] = {"still": Image.new("RGB", (8, 8)), "latents": None, "device": "cpu"}
    with suppress(ZeroDivisionError), PostPipeline([step(Step.work)], SHAPE, lambda _: None, never(), **about) as one:
        list(one.put(next(decoded())))
        raise ZeroDivisionError
    assert threading.active_count() == before
