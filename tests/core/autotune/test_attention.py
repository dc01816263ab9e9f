"""The benchmark of attention kernels: the fastest right one wins, once, and is used where it won."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.core.attention import Attend, attend_with, install, kernel_table, sdpa
from svd_ui.core.autotune import BenchmarkStore
from svd_ui.core.autotune.attention import (
    AttentionShape,
    KernelTimings,
    benchmark_kernels,
    benchmark_shapes,
    kernel_timings,
    select_kernels,
    shapes,
)
from svd_ui.core.autotune.device_benchmark import NANO, SVD, UNetLevels
from svd_ui.core.autotune.microbenchmarks import Timer
from svd_ui.core.runtime import Runtime
from tests.core.conftest import CPU_PLAN

CPU = torch.device("cpu")
SMALL = AttentionShape(batch=2, tokens=5, heads=3, head_dim=8)


class Clock:
    """A clock that only kernels move, and a count of how often the device was waited for."""

    def __init__(self) -> None:
        self.now, self.syncs = 0.0, 0

    def timer(self) -> Timer:
        return Timer(sync=self.sync, clock=lambda: self.now)

    def sync(self) -> None:
        self.syncs += 1

    def taking(self, seconds: float, kernel: Attend = sdpa) -> Attend:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.now += seconds
            return kernel(query, key, value)

        return attend


def wrong(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return sdpa(query, key, value) * 1.01


def raising(*_: Tensor) -> Tensor:
    raise RuntimeError("CUDA error: invalid configuration argument\nmore lines")


def test_the_fastest_wins_and_wrong_or_failing_ones_are_out_with_a_note() -> None:
    clock = Clock()
    candidates = {
        "sdpa": clock.taking(3.0),
        "fast": clock.taking(2.0),
        "faster but wrong": clock.taking(0.1, wrong),
        "not a number": clock.taking(0.1, lambda *_: torch.full((2, 5, 3, 8), float("nan"))),
        "another shape": clock.taking(0.1, lambda query, *_: query[:1]),
        "raising": raising,
    }
    result = benchmark_kernels(candidates, SMALL, torch.float32, clock.timer(), CPU)
    assert result.winner == "fast"
    assert result.seconds == {"sdpa": 3.0, "fast": 2.0}
    assert result.notes["faster but wrong"] == "left out: its result is off by 0.01"
    assert result.notes["raising"] == "left out: CUDA error: invalid configuration argument"
    assert {"not a number", "another shape"} < set(result.notes)
    assert clock.syncs > 2


def test_a_small_difference_is_rounding_in_the_number_format_at_hand() -> None:
    def nearly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return sdpa(query, key, value) * 1.002

    for dtype, fits in ((torch.float32, False), (torch.bfloat16, True)):
        result = benchmark_kernels({"nearly": nearly}, SMALL, dtype, Clock().timer(), CPU)
        assert ("nearly" in result.seconds) is fits


def test_memory_that_ran_out_is_no_verdict() -> None:
    def full(*_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        benchmark_kernels({"sdpa": sdpa, "full": full}, SMALL, torch.float32, Clock().timer(), CPU)


def test_it_is_run_once_per_shape_and_remembered_between_starts(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "measured.json"

    def timings(candidates: Mapping[str, Attend]) -> KernelTimings:
        started = replace(CPU_PLAN, benchmarks=BenchmarkStore(file))
        return kernel_timings(started, candidates, SMALL, clock.timer())

    candidates = {"sdpa": clock.taking(1.0), "other": clock.taking(0.5)}
    first = timings(candidates)
    ran = clock.now
    again = timings(candidates)
    assert clock.now == ran
    assert again == first
    assert timings(candidates | {"new": clock.taking(0.1)}).winner == "new"


def test_shapes_are_those_that_the_model_attends_over(tiny_folder: Path) -> None:
    """The exact layers may take a batch in parts, so its size is seen without them."""
    runtime = Runtime(folder_row(tiny_folder), tiny_folder, replace(CPU_PLAN, exact=False))
    seen: set[tuple[int, int, int, int]] = set()

    def watching(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.add(tuple(query.shape))  # type: ignore[arg-type]
        return sdpa(query, key, value)

    for processor in runtime.unet.attn_processors.values():
        processor.attend = watching
    with torch.no_grad():
        runtime.unet(
            torch.zeros(2, 3, 8, 9, 7),
            torch.tensor(0.3),
            encoder_hidden_states=torch.zeros(2, 1, 32),
            added_time_ids=torch.zeros(2, 3),
        )
    expected = shapes(runtime.unet.config, clips=2, frames=3, height=9, width=7)
    assert seen == {(shape.batch, shape.tokens, shape.heads, shape.head_dim) for shape in expected}


def test_full_size_shapes_and_what_is_measured_of_them() -> None:
    found = shapes(SVD, 2, 25, 72, 128)
    assert found[0] == AttentionShape(batch=50, tokens=9216, heads=5, head_dim=64)
    assert found[1] == AttentionShape(batch=18_432, tokens=25, heads=5, head_dim=64)
    assert found[-2] == AttentionShape(batch=50, tokens=144, heads=20, head_dim=64)
    for shape in found:
        sample = shape.sample(torch.float16)
        assert sample.batch <= shape.batch
        assert sample.batch * sample.tokens * sample.heads * sample.head_dim * 2 <= 64 * 2**20
    assert found[0].sample(torch.float16) == shapes(SVD, 1, 14, 72, 128)[0].sample(torch.float16)


def test_the_levels_here_are_those_of_the_embedded_checkpoint() -> None:
    import json

    from svd_ui.settings import REPOSITORY

    config = json.loads((REPOSITORY / "assets" / "nano" / "unet" / "config.json").read_text("utf-8"))
    kept = {name: tuple(config[name]) for name in UNetLevels.__dataclass_fields__}
    assert UNetLevels(**kept) == NANO


def test_each_shape_of_a_clip_gets_its_own_winner(runtime: Runtime) -> None:
    clock = Clock()

    def good_at_many_tokens(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        clock.now += 0.1 if query.shape[1] > 4 else 9.0
        return sdpa(query, key, value)

    candidates: Mapping[str, Attend] = {"sdpa": clock.taking(1.0), "other": good_at_many_tokens}
    install(runtime.unet, "auto")
    plan = replace(CPU_PLAN, attention="auto", benchmarks=BenchmarkStore())
    select_kernels(runtime.unet, plan, torch.Size((1, 4, 4, 8, 8)), candidates, clock.timer())
    table = kernel_table(runtime.unet)
    assert table is not None
    assert {tokens: attend is good_at_many_tokens for (tokens, _), attend in table.kernels.items()} == {
        64: True,
        16: True,
        4: False,
    }
    ran = clock.now
    select_kernels(runtime.unet, plan, torch.Size((3, 4, 4, 8, 8)), candidates, clock.timer())
    assert clock.now == ran


@pytest.mark.parametrize("attention", ["sdpa", "auto"])
def test_nothing_is_measured_where_there_is_no_choice(attention: str, runtime: Runtime) -> None:
    def never() -> None:
        raise AssertionError

    timer = Timer(sync=never)
    install(runtime.unet, attention)  # type: ignore[arg-type]
    select_kernels(runtime.unet, CPU_PLAN, torch.Size((1, 4, 4, 8, 8)), {"sdpa": attend_with("sdpa")}, timer)
    select_kernels(runtime.unet, CPU_PLAN, torch.Size((1, 4, 4, 8, 8)), timer=timer)


def test_a_benchmark_runs_each_shape_anew() -> None:
    plan = replace(CPU_PLAN, benchmarks=BenchmarkStore())
    for _ in range(2):
        found = list(benchmark_shapes(plan, NANO, (1, 4, 6, 8), {"sdpa": sdpa}))
        assert len({shape for shape, _ in found}) == len(found) > 2
        assert all(result.winner == "sdpa" for _, result in found)
