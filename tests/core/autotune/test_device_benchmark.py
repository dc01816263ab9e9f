"""What is measured decides, is shown, and is remembered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
import torch

from svd_ui.core import devices, number_formats
from svd_ui.core.autotune import BenchmarkStore, key, microbenchmarks
from svd_ui.core.autotune.device_benchmark import full_benchmark, quick_benchmark
from svd_ui.core.autotune.microbenchmarks import Timer
from svd_ui.core.devices import describe, plan_for, threads_for
from svd_ui.core.number_formats import Traits, dtype_for
from svd_ui.notes import sentence
from svd_ui.settings import Settings

CPU = torch.device("cpu")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def takes(self, seconds: float) -> None:
        self.now += seconds


def test_the_shortest_run_counts_and_rivals_take_turns() -> None:
    clock, order = Clock(), []
    spans = {"a": iter([9.0, 3.0, 2.0, 5.0]), "b": iter([9.0, 4.0, 1.0, 6.0])}

    def call(name: str) -> None:
        order.append(name)
        clock.takes(next(spans[name]))

    timer = Timer(sync=lambda: None, clock=lambda: clock.now, runs=3, max_seconds=100)
    assert timer.compare({"a": lambda: call("a"), "b": lambda: call("b")}) == {"a": 2.0, "b": 1.0}
    assert order == ["a", "b"] * 4


def test_a_long_call_is_not_run_again_and_again() -> None:
    clock, calls = Clock(), []

    def slow() -> None:
        calls.append(1)
        clock.takes(10)

    assert Timer(sync=lambda: None, clock=lambda: clock.now).seconds(slow) == 10
    assert len(calls) == 2


def test_what_the_device_still_does_is_waited_for() -> None:
    """A call returns at once on a GPU; only the wait after it tells."""
    clock = Clock()
    assert Timer(sync=lambda: clock.takes(2), clock=lambda: clock.now).seconds(lambda: None) == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [({"a": 1.0, "b": 0.99}, "a"), ({"a": 1.0, "b": 0.9}, "b"), ({"a": 1.0}, "a"), ({"a": 3, "b": 2, "c": 1}, "c")],
)
def test_a_tie_changes_nothing(seconds: Mapping[str, float], expected: str) -> None:
    assert microbenchmarks.fastest(seconds) == expected


def test_a_trial_is_run_once(tmp_path: Path) -> None:
    ran: list[str] = []
    trial = {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}
    timer, store = Timer(sync=lambda: None), BenchmarkStore(tmp_path / "m.json")
    first = microbenchmarks.benchmark(store, "k", trial, timer)
    count = len(ran)
    assert microbenchmarks.benchmark(BenchmarkStore(tmp_path / "m.json"), "k", trial, timer) == first
    assert len(ran) == count
    microbenchmarks.benchmark(store, "k", trial | {"c": lambda: ran.append("c")}, timer)
    assert ran[-1] == "c"


def test_both_forms_of_a_convolution_over_time_give_the_same() -> None:
    forms = microbenchmarks.temporal_conv_candidates(CPU, torch.float32)
    assert tuple(forms) == microbenchmarks.TEMPORAL_FORMS
    torch.testing.assert_close(forms["conv2d"](), forms["conv3d"](), atol=1e-3, rtol=1e-5)


def test_a_rate_is_two_n_cubed_over_the_time() -> None:
    timer = Timer(sync=lambda: None, clock=iter(range(1000)).__next__)
    assert microbenchmarks.matmul_rate(CPU, torch.float32, timer) == 2.0 * 768**3


class TestNumberFormat:
    def store(self, bfloat16: float) -> BenchmarkStore:
        store = BenchmarkStore()
        store.put(key("cpu", "number format"), {"float32": 1.0, "bfloat16": bfloat16})
        return store

    @pytest.mark.parametrize(
        ("amx", "avx", "seconds", "dtype", "why"),
        [
            (False, False, 0.1, torch.float32, "no bfloat16 units"),
            (True, False, 0.5, torch.bfloat16, "faster on this CPU's AMX tiles"),
            (False, True, 0.5, torch.bfloat16, "faster on this CPU's AVX-512 bfloat16 units"),
            (False, True, 1.5, torch.float32, "no faster on this CPU's AVX-512 bfloat16 units"),
        ],
    )
    def test_bfloat16_needs_units_and_has_to_win(
        self, amx: bool, avx: bool, seconds: float, dtype: torch.dtype, why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
        found, reason = dtype_for(Traits("cpu", "cpu"), self.store(seconds))
        assert found == dtype
        assert why in sentence(reason)

    @pytest.mark.usefixtures("raced")
    def test_it_is_tried_once_where_there_are_units(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tries: list[int] = []
        monkeypatch.setattr(number_formats, "bfloat16_units", lambda: "AMX tiles")
        monkeypatch.setattr(
            microbenchmarks, "dtype_candidates", lambda: {"float32": lambda: tries.append(1), "bfloat16": lambda: None}
        )
        store = BenchmarkStore()
        dtype_for(Traits("cpu", "cpu"), store)
        count = len(tries)
        dtype_for(Traits("cpu", "cpu"), store)
        assert len(tries) == count > 0


class TestThreads:
    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Eight cores of two threads each, all ours."""
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)

    def test_physical_cores_unless_another_number_was_faster(self) -> None:
        assert microbenchmarks.thread_counts({}) == [8, 16, 4, 1]
        store = BenchmarkStore()
        assert threads_for("cpu", store) == 8
        store.put(key("cpu", "threads"), {"8": 1.0, "16": 0.5, "4": 1.5, "1": 4.0})
        assert threads_for("cpu", store) == 16

    def test_what_was_measured_on_other_cores_counts_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = BenchmarkStore()
        store.put(key("cpu", "threads"), {"8": 1.0, "16": 0.5, "4": 1.5, "1": 4.0})
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
        assert threads_for("cpu", store) == 2

    def test_what_the_user_asks_for_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert threads_for("cpu", BenchmarkStore()) is None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, devices="cpu")


@pytest.mark.usefixtures("raced")
def test_the_quick_benchmark_finds_a_rate_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbenchmarks, "is_idle", lambda: True)
    plan = plan_for(settings)
    assert plan.flops_per_second is None
    quick_benchmark(plan)
    rate = plan_for(settings).flops_per_second
    assert rate is not None
    assert rate > 1e8
    monkeypatch.setattr(Timer, "compare", None)  # a second one must not measure anything
    quick_benchmark(plan_for(settings))
    assert plan_for(settings).flops_per_second == rate


@pytest.mark.usefixtures("raced")
def test_on_a_busy_machine_nothing_is_decided(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbenchmarks, "is_idle", lambda: False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    quick_benchmark(plan_for(settings))
    assert "temporal_conv" not in settings.measured_file.read_text("utf-8")
    monkeypatch.setattr(microbenchmarks, "is_idle", lambda: True)
    quick_benchmark(plan_for(settings))
    assert "temporal_conv" in settings.measured_file.read_text("utf-8")


@pytest.mark.usefixtures("float32")
def test_the_temporal_form_that_won_is_planned(settings: Settings) -> None:
    assert plan_for(settings).temporal_conv2d is False
    name = devices.temporal_key(describe("cpu").name, torch.float32)
    BenchmarkStore(settings.measured_file).put(name, {"conv3d": 2.0, "conv2d": 1.0})
    assert plan_for(settings).temporal_conv2d is True


def test_a_benchmark_shows_every_choice_and_remembers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plan = plan_for(settings)
    rows = full_benchmark(plan)
    by_what = {what: [row for row in rows if row.what == what] for what in {row.what for row in rows}}
    assert set(by_what) == {
        "number format",
        "threads",
        "matrix products",
        "convolution over time",
        "attention",
    }
    assert {row.choice for row in by_what["number format"]} == {"float32", "bfloat16"}
    assert {row.choice for row in by_what["attention"]} == {"sdpa", "xformers", "flash"}
    assert all(row.note for row in by_what["attention"] if row.milliseconds is None)
    for what, found in by_what.items():
        if what != "attention":
            assert sum(row.chosen for row in found) == 1, what
    assert plan_for(settings).flops_per_second is not None


def test_threads_of_a_busy_machine_are_shown_and_not_believed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(microbenchmarks, "thread_counts", lambda: [2, 1])
    monkeypatch.setattr(
        microbenchmarks, "thread_candidates", lambda *_: {"2": lambda: time.sleep(0.02), "1": lambda: None}
    )
    for idle, chosen in ((False, "2"), (True, "1")):
        monkeypatch.setattr(microbenchmarks, "is_idle", lambda idle=idle: idle)
        rows = [row for row in full_benchmark(plan_for(settings)) if row.what == "threads"]
        assert [row.choice for row in rows if row.chosen] == [chosen]
        assert all(("not remembered" in row.note) is not idle for row in rows)
        assert plan_for(settings).threads == int(chosen)


def test_with_threads_of_the_users_choice_the_table_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    row = next(row for row in full_benchmark(plan_for(settings)) if row.what == "threads")
    assert (row.choice, row.note) == ("1", "set by OMP_NUM_THREADS")
