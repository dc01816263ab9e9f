"""Post steps that close a clip into a loop."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui.clip import ClipShape
from svd_ui.events import never
from svd_ui.post import Frames, PostContext, PostParams
from svd_ui.post.boomerang import Boomerang
from svd_ui.post.crossfade_loop import CrossfadeLoop


def numbered(count: int) -> Frames:
    """A clip of ``count`` even frames whose level is ten times their number."""
    return np.stack([np.full((4, 6, 3), 10 * index, np.uint8) for index in range(count)])


def levels(frames: Frames) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in frames]


def after(step: PostParams, clip: Frames, size: int = 3) -> Frames:
    """``clip`` after ``step``, handed over ``size`` frames at a time."""
    shape = ClipShape(len(clip), clip.shape[2], clip.shape[1], 7)
    context = PostContext(shape, Image.new("RGB", (6, 4)), None, "cpu", never(), lambda done, total: None)
    parts: Iterator[Frames] = (clip[at : at + size] for at in range(0, len(clip), size))
    made = np.concatenate(list(step.apply(parts, context)))
    assert len(made) == step.changes(shape).num_frames, "the shape that was predicted"
    return made


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_boomerang_turns_without_doubling_its_ends(size: int) -> None:
    assert levels(after(Boomerang(), numbered(4), size)) == [0, 10, 20, 30, 20, 10]
    assert levels(after(Boomerang(), numbered(2), size)) == [0, 10]


def test_a_boomerang_holds_no_clip_in_memory() -> None:
    frame = np.zeros((1, 200, 300, 3), np.uint8)
    context = PostContext(ClipShape(60, 300, 200, 24), Image.new("RGB", (6, 4)), None, "cpu", never(), lambda *_: None)
    tracemalloc.start()
    count = sum(len(part) for part in Boomerang().apply((frame.copy() for _ in range(60)), context))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 118
    assert peak < 10 * frame.nbytes


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_crossfade_ends_where_it_begins(size: int) -> None:
    made = levels(after(CrossfadeLoop(overlap=2), numbered(6), size))
    # It begins at frame 2; frames 4 and 5 fade into 0 and 1, which 2 follows.
    assert made == [20, 30, round(40 * 2 / 3 + 0 / 3), round(50 / 3 + 10 * 2 / 3)]


def test_the_seam_of_a_crossfade_is_no_larger_than_a_step_within_it() -> None:
    clip = numbered(20)
    made = np.array(levels(after(CrossfadeLoop(overlap=8), clip)), dtype=float)
    seam, inside = abs(made[0] - made[-1]), np.abs(np.diff(made))
    assert abs(float(clip[-1, 0, 0, 0]) - float(clip[0, 0, 0, 0])) > 6 * np.median(inside), "the clip itself is open"
    assert seam <= 3 * np.median(inside)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_more_than_half_of_a_short_clip_fades(count: int) -> None:
    assert len(after(CrossfadeLoop(overlap=32), numbered(count))) == count - count // 2


def test_a_crossfade_lets_the_middle_pass_at_once() -> None:
    taken = 0

    def frames() -> Iterator[Frames]:
        nonlocal taken
        for frame in numbered(20):
            taken += 1
            yield frame[None]

    shape = ClipShape(20, 6, 4, 7)
    context: Any = PostContext(shape, Image.new("RGB", (6, 4)), None, "cpu", never(), lambda done, total: None)
    next(iter(CrossfadeLoop(overlap=3).apply(frames(), context)))
    assert taken == 7, "three at the beginning, three held back, and the one that may go"
