"""A step of a mid-size model in fp32, stock diffusers and ours from the same weights, taking turns in one process.

Steps take turns one by one. Whole clips do too, of a few steps, the picture first and the file last.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..accelerator import accelerator
from ..clips import Clip, in_turn, median_ratio
from ..ours import Estimate, Ours, difference, still
from ..ours import steps as steps_of
from ..report import Row
from ..stock import CONFIGS, Stock, Weights

CLIPS = 3


def rows(runs: int = 15, config: str = "mid") -> list[Row]:
    on = accelerator("cpu")
    weights = Weights(CONFIGS[config], on.device, on.dtype)
    stock, count, picture = Stock(weights, on), weights.config.num_inference_steps, still(weights.config)
    with Ours(weights, on) as ours, tempfile.TemporaryDirectory() as folder:
        off = difference(ours, stock, picture)
        with steps_of(ours, stock, picture) as ways:
            timed = {name: _timed(way) for name, way in ways.items()}
            in_turn(timed, 1)  # warms up
            seconds = in_turn(timed, runs)
        clips: dict[str, list[Clip]] = in_turn(
            {
                "stock": lambda: stock.clip(picture, count, Path(folder)),
                "ours": lambda: ours.clip(picture, count),
            },
            min(CLIPS, runs),
        )
    what = f"{config}-size step"
    return [
        *(Row(f"{what}, {name}", statistics.median(took), "s") for name, took in seconds.items()),
        Row(f"{what}, stock over ours", median_ratio(seconds["stock"], seconds["ours"]), "x", at_least=1.05),
        Row(f"{what}, difference from stock", off, at_most=1e-5, note="largest difference over largest value"),
        Row(
            f"{config}-size clip, stock over ours",
            median_ratio([clip.seconds for clip in clips["stock"]], [clip.seconds for clip in clips["ours"]]),
            "x",
            note=f"{count} steps, from the picture to the file",
        ),
    ]


def _timed(way: Estimate) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        way()
        return time.perf_counter() - started

    return run
