"""The benchmark for cards, run on the CPU with tiny models, and its verdicts on figures made up."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.accelerator import GIB, Host
from benchmarks.clips import Clip
from benchmarks.gpu import decode, e2e, ladder, queue
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.bench import FEW, Bench
from benchmarks.gpu.kept import Kept, read
from benchmarks.report import Row
from benchmarks.stock import CONFIGS
from svd_ui.errors import OutOfMemory


def bench(measured: dict[str, Any], config: str = "full") -> Bench:
    return Bench(CONFIGS[config], Host(), Kept(lambda _: None, 60, measured))


def figure(seconds: float, made: int = 25, **values: Any) -> dict[str, Any]:
    return Clip(seconds, [seconds / 30], **values).to_dict() | {"made": made}


def named(rows: list[Row]) -> dict[str, Row]:
    return {row.what: row for row in rows}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("decode", marks=SLOW),
        "attention",
        pytest.param("e2e", marks=SLOW),
        pytest.param("ladder", marks=SLOW),
    ],
)
def test_each_part_runs_and_a_rerun_measures_nothing_again(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    arguments = [part, "--device", "cpu", "--config", "tiny", "--json", str(file)]
    for _ in range(2):
        with suppress(SystemExit):  # limits are for cards
            main(arguments)
    data = json.loads(file.read_text("utf-8"))
    assert data["config"] == "tiny" and data["device"] == Host().name
    errors = {name: value for name, value in data["measured"].items() if isinstance(value, dict) and "error" in value}
    assert not errors
    assert data["measured"]
    out = capsys.readouterr().out
    assert all(out.count(f"  {name} ...") == 1 for name in data["measured"] if name != "e2e/steps")


def test_running_out_of_memory_is_a_figure_and_stays_one() -> None:
    calls: list[int] = []

    def full() -> None:
        calls.append(1)
        raise OutOfMemory(doing="decoding", remedy="") if len(calls) > 1 else torch.OutOfMemoryError("cap")

    for kept in (Kept(lambda _: None, 60), Kept(lambda _: None, 60)):
        assert kept.once("a", full) == {"error": "out of memory"}
        assert kept.once("a", full) == {"error": "out of memory"}
    assert len(calls) == 2


def test_other_failures_are_kept_and_tried_again() -> None:
    saved: list[str] = []
    kept = Kept(lambda measured: saved.append(json.dumps(measured)), 60)
    assert kept.once("a", lambda: 1 / 0)["error"].startswith("ZeroDivisionError")
    assert kept.good("a") is None
    assert kept.once("a", lambda: 3) == 3
    assert kept.once("a", lambda: 4) == 3
    assert len(saved) == 2 and json.loads(saved[-1]) == {"a": 3}


def test_past_the_guard_nothing_new_begins() -> None:
    kept = Kept(lambda _: None, 60)
    assert kept.once("long", lambda: 1, needs=61) is None
    assert "long" not in kept.measured
    late = Kept(lambda _: None, -1)
    assert late.once("short", lambda: 1) is None


def test_figures_of_another_device_are_not_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"device": "A", "config": "full", "measured": {"x": 1}}))
    assert read(file, "A", "full") == {"x": 1}
    assert read(file, "B", "full") == read(file, "A", "tiny") == {}
    file.write_text("{")
    assert read(file, "A", "full") == {}


def test_whole_clips_are_judged_by_ratio_floor_and_memory() -> None:
    measured = {
        "e2e/matmul_rate": 417.4e12,
        **{f"e2e/stock/{turn}": figure(30) for turn in range(2)},
        **{f"e2e/stock beside compiled/{turn}": figure(32) for turn in range(2)},
        **{f"e2e/eager/{turn}": figure(25, peak_denoising=8 * GIB) for turn in range(2)},
        **{f"e2e/compiled/{turn}": figure(16, compiled=True) for turn in range(2)},
        "e2e/caching/0": figure(12, peak_denoising=9 * GIB),
    }
    rows = named(e2e.rows(bench(measured)))
    assert rows["floor of the clip at that rate"].value == pytest.approx(10)
    assert rows["exact, compiled, over stock"].value == 2 and rows["exact, compiled, over stock"].passed
    assert rows["exact, compiled, of the floor"].value == pytest.approx(1.6)
    assert rows["caching-3 over exact"].passed
    assert rows["caching-3, extra memory"].value == 1 and rows["caching-3, extra memory"].passed is False
    assert "NOT compiled" not in rows["clip, compiled"].note


def test_without_memory_for_stock_there_is_no_ratio() -> None:
    rows = named(e2e.rows(bench({"e2e/stock/0": {"error": "out of memory"}, "e2e/eager/0": figure(25)})))
    assert rows["clip, stock"].value is None and rows["clip, stock"].note == "out of memory"
    assert rows["exact, eager, over stock"].value is None
    assert rows["exact, eager, over stock"].passed is None


def test_a_slow_card_makes_fewer_steps() -> None:
    slow = bench({})
    steps, seconds = e2e._length(slow, Clip(24, [11.0]).to_dict() | {"made": 2})
    assert 3 <= steps < 25 and seconds == pytest.approx(2 + 11 * steps)
    slow.kept.seconds = 1e6
    slow.kept.measured.clear()
    assert e2e._length(slow, Clip(24, [11.0]).to_dict() | {"made": 2})[0] == 25


def test_what_only_warms_up_is_no_figure_in_any_process() -> None:
    """A rerun knows the figures of the run before; its own first clip is as cold as any."""

    class Side:
        def clip(self, picture: Any, steps: int, **values: Any) -> Clip:
            made.append(steps)
            return Clip(1.0, [0.5])

    made: list[int] = []
    here, one, other = bench({}, "tiny"), Side(), Side()
    here.our_clip(one, 5)  # type: ignore[arg-type]
    here.our_clip(one, 5)  # type: ignore[arg-type]
    here.our_clip(other, 5, cold=True)  # type: ignore[arg-type]
    here.our_clip(other, 5)  # type: ignore[arg-type]
    assert made == [FEW, 5, 5, 5, 5]


def test_where_stock_does_not_fit_ours_tells_how_many_steps_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(Bench):
        def ours(self, **settings: Any) -> Any:
            return nullcontext()

        def stock_clip(self, steps: int) -> dict[str, Any]:
            raise torch.OutOfMemoryError("the card is small")

        def our_clip(self, ours: Any, steps: int, **values: Any) -> dict[str, Any]:
            return Clip(2 + 11 * steps, [11.0]).to_dict() | {"made": steps}

    monkeypatch.setattr(e2e, "difference", lambda *_: 0.0)
    monkeypatch.setattr(e2e, "matmul_rate", lambda _: 1e12)
    monkeypatch.setattr(Bench, "stock", None)
    small = Small(CONFIGS["full"], Host(), Kept(lambda _: None, 60))
    e2e.measure(small)
    assert small.kept.measured["e2e/steps"] == 3


def test_a_rung_has_to_finish_as_itself_under_its_cap_and_near_its_prediction() -> None:
    peaks = {"peak": 6 * GIB, "peak_denoising": 5 * GIB, "peak_reserved": 7 * GIB}
    measured = {
        "ladder/24gb": {"error": "ValueError: this card is smaller"},
        "ladder/12gb": {"error": "out of memory"},
        "ladder/8gb": figure(40, profile="8gb", **peaks),
        "ladder/8gb resident": figure(39, profile="8gb"),
        "ladder/6gb": figure(50, profile="4gb", **{**peaks, "peak": 60 * GIB}),
        "ladder/6gb resident": figure(40, profile="6gb"),
    }
    rows = ladder.rows(bench(measured))
    ends = {row.what.partition(":")[0]: row for row in rows if "finishes" in row.what}
    assert {name: row.passed for name, row in ends.items()} == {
        "24gb": None,
        "16gb": None,
        "12gb": False,
        "8gb": True,
        "6gb": False,
        "4gb": None,
    }
    others = named(rows)
    assert others["8gb: peak"].at_most is not None and others["6gb: peak"].passed is False
    assert others["8gb: model offload over resident"].passed
    assert others["6gb: model offload over resident"].passed is False
    assert ladder.cap(ladder.RUNGS[-1]) < 4 * GIB


def test_decoding_is_judged_at_the_largest_chunk_that_ran() -> None:
    seconds = {"stock": [3.0, 3.2], "ours": [1.0, 1.0], "stock to pictures": [4.0, 4.0], "ours to frames": [1.0, 2.0]}
    measured = {
        "decode/8": {"error": "out of memory"},
        "decode/4": {"seconds": seconds, "peaks": dict.fromkeys(seconds, 5 * GIB), "difference": 0.001},
        "e2e/eager/0": figure(25, stages={"decoding": 2.5}),
    }
    rows = named(decode.rows(bench(measured)))
    assert rows["decoding, stock over ours"].value == pytest.approx(3.1)
    assert "decode, ours, chunk 4" in rows
    assert rows["decoding, share of the clip"].value == pytest.approx(10)
    assert rows["decoding, share of the clip"].passed is False


@pytest.mark.slow
def test_the_queue_on_a_device_measures_every_scene(tmp_path: Path) -> None:
    """With a model whose steps take long enough to be interrupted."""
    file = tmp_path / "figures.json"
    with suppress(SystemExit):
        main(["queue", "--device", "cpu", "--config", "mid", "--json", str(file)])
    measured = json.loads(file.read_text("utf-8"))["measured"]
    assert [name for name in measured if name.startswith("queue/")] == [f"queue/{scene}" for scene in queue.SCENES]
    assert not [figure for figure in measured.values() if isinstance(figure, dict) and "error" in figure]
    assert measured["queue/paused"]["equal"] and measured["queue/killed"]["equal"]


def test_rows_of_the_queue_judge_keeping_pausing_and_equality() -> None:
    rows = named(
        queue.rows(
            bench(
                {
                    "queue/keeping": {"every": [0.52, 0.51], "never": [0.5, 0.6]},
                    "queue/paused": {
                        "stopped": 0.5,
                        "freed": 2.5,
                        "held": 8 * GIB,
                        "left": GIB,
                        "first_step": 9,
                        "on": 2.0,
                        "latents": 0.0,
                        "equal": False,
                    },
                    "queue/killed": {"at": 12, "first_step": 12, "on": 18.0, "latents": 0.0, "equal": True},
                }
            )
        )
    )
    assert (
        rows["keeping every step, of a step"].value == pytest.approx(2)
        and not rows["keeping every step, of a step"].passed
    )
    assert rows["paused: the card's memory is free"].passed is False
    assert rows["paused and resumed: equal to the bit"].passed is False
    assert rows["killed: equal to the bit"].passed is True
    assert rows["cancelled"].value is None
