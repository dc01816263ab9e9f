"""A step of a mid-size model, stock diffusers and ours in fp32, clips taking turns in one process.

Both make whole clips of a few steps from the same weights; the first step of each is left out. The difference is that
of one guided estimate from the same noise, relative to its largest value.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from ..accelerator import accelerator
from ..clips import Clip, in_turn, median_ratio
from ..ours import Ours, estimates, relative_difference, still
from ..report import Row
from ..stock import CONFIGS, Stock, Weights


def rows(runs: int = 5, config: str = "mid") -> list[Row]:
    on = accelerator("cpu")
    weights = Weights(CONFIGS[config], on.device, on.dtype)
    stock, steps, picture = Stock(weights, on), weights.config.num_inference_steps, still(weights.config)
    with Ours(weights, on) as ours, tempfile.TemporaryDirectory() as folder:
        difference = relative_difference(*estimates(ours, stock, picture))
        ways = {
            "stock": lambda: stock.clip(picture, steps, Path(folder)),
            "ours": lambda: ours.clip(picture, steps),
        }
        in_turn(ways, 1)  # warms up
        clips: dict[str, list[Clip]] = in_turn(ways, runs)
    seconds = {name: [clip.step for clip in made] for name, made in clips.items()}
    what = f"{config}-size step"
    return [
        *(Row(f"{what}, {name}", statistics.median(took), "s") for name, took in seconds.items()),
        Row(f"{what}, stock over ours", median_ratio(seconds["stock"], seconds["ours"]), "x", at_least=1.05),
        Row(f"{what}, difference from stock", difference, at_most=1e-5, note="relative, one guided estimate"),
        Row(
            f"{config}-size clip, stock over ours",
            median_ratio([clip.seconds for clip in clips["stock"]], [clip.seconds for clip in clips["ours"]]),
            "x",
            note=f"{steps} steps, to the file",
        ),
    ]
