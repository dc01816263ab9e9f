"""Whole clips: stock diffusers in fp16, ours eager and compiled, and with features reused; all warm.

Both sides make the clip at the same number of steps, fewer than the full number on a card that would not finish in
time; seconds are then given for the full number from the median step. Stock and ours take turns.
"""

from __future__ import annotations

import statistics
from typing import Any

from ..accelerator import GIB, matmul_rate
from ..clips import median_ratio
from ..ours import Ours, difference
from ..report import Row
from .bench import FEW, Bench, clip_of
from .kept import failed, why

ROUNDS = 2
CLIPS = 4 * ROUNDS + 1
"""Full-length clips of one run."""


def measure(bench: Bench) -> None:
    kept = bench.kept
    kept.once("e2e/matmul_rate", lambda: matmul_rate(bench.accelerator))
    with bench.ours() as ours:
        kept.once("e2e/difference", lambda: difference(ours, bench.stock, bench.picture()))
        warm = kept.once("e2e/warm/stock", lambda: bench.stock_clip(FEW))
        eager = kept.once("e2e/warm/eager", lambda: bench.our_clip(ours, FEW))
        steps, seconds = _length(bench, eager if warm is None or failed(warm) else warm)
        for turn in range(ROUNDS):
            kept.once(f"e2e/stock/{turn}", lambda: bench.stock_clip(steps), seconds)
            kept.once(f"e2e/eager/{turn}", lambda: bench.our_clip(ours, steps), seconds)
        kept.once("e2e/caching/0", lambda: bench.our_clip(ours, steps, cache_interval=3), seconds)
    from torch._inductor.utils import fresh_cache  # seconds to import, and only wanted here

    with fresh_cache(), bench.ours(compile="on") as ours:
        _compiled(bench, ours, steps, seconds)


def _compiled(bench: Bench, ours: Ours, steps: int, seconds: float) -> None:
    """The first compiled clip tells what compiling costs: the compiler's cache is a new, empty folder."""
    kept, turns = bench.kept, [f"e2e/compiled/{turn}" for turn in range(ROUNDS)]
    if all(kept.good(name) for name in turns):
        return
    kept.once("e2e/compiling", lambda: bench.our_clip(ours, FEW, cold=True), needs=120)
    kept.once("e2e/warm/compiled", lambda: bench.our_clip(ours, FEW))
    for turn, name in enumerate(turns):
        kept.once(f"e2e/stock beside compiled/{turn}", lambda: bench.stock_clip(steps), seconds)
        kept.once(name, lambda: bench.our_clip(ours, steps), seconds)


def _length(bench: Bench, warm: Any) -> tuple[int, float]:
    """Steps per clip so that all clips fit the guard, and the seconds one of them takes at most."""
    wanted = bench.config.num_inference_steps
    known = bench.kept.measured.get("e2e/steps")
    if warm is None or failed(warm):
        return known or wanted, 0.0
    clip, made = clip_of(warm)
    fixed = clip.seconds - made * clip.step
    fitting = int((bench.kept.seconds * 0.6 / CLIPS - fixed) / max(clip.step, 1e-6))
    steps = known or max(min(3, wanted), min(wanted, fitting))
    bench.kept.measured["e2e/steps"] = steps
    return steps, fixed + steps * clip.step


def rows(bench: Bench) -> list[Row]:
    kept, config = bench.kept, bench.config
    clips = {name: _clips(bench, name) for name in ("stock", "eager", "caching", "stock beside compiled", "compiled")}
    rate = kept.good("e2e/matmul_rate")
    floor = config.tflop * 1e12 / rate if rate and config.tflop else None
    compiled, eager = clips["compiled"], clips["eager"]
    return [
        Row("matrix products", rate / 1e12 if rate else None, "TFLOP/s", note=_missing(bench, "e2e/matmul_rate")),
        Row("floor of the clip at that rate", floor, "s", note="counted operations of the exact clip"),
        *(
            Row(f"clip, {name}", statistics.median(seconds) if seconds else None, "s", note=_note(bench, name))
            for name, seconds in clips.items()
        ),
        _ratio("exact, eager, over stock", clips["stock"], eager),
        _ratio("exact, compiled, over stock", clips["stock beside compiled"], compiled, at_least=1.3, goal=1.6),
        _over("exact, compiled, of the floor", compiled, floor, at_most=2.5, goal=2.0),
        _over("exact, eager, of the floor", eager, floor),
        _ratio("caching-3 over exact", eager[-1:], clips["caching"], at_least=1.9),
        _extra(bench),
        Row("compiling, first time", _compile_seconds(bench), "s", note=_missing(bench, "e2e/compiling")),
        Row(
            "one guided estimate against stock, relative",
            kept.good("e2e/difference"),
            note=_missing(bench, "e2e/difference") or "largest difference over largest value",
        ),
    ]


def _clips(bench: Bench, name: str) -> list[float]:
    """Seconds for the full number of steps, one for each round."""
    found = [bench.kept.good(f"e2e/{name}/{turn}") for turn in range(ROUNDS)]
    wanted = bench.config.num_inference_steps
    return [clip.at(wanted, made) for clip, made in (clip_of(figure) for figure in found if figure)]


def _note(bench: Bench, name: str) -> str:
    figure = bench.kept.measured.get(f"e2e/{name}/0")
    if figure is None or failed(figure):
        return why(figure)
    clip, made = clip_of(figure)
    full = bench.config.num_inference_steps
    parts = [f"{clip.step * 1e3:.0f} ms a step", f"peak {clip.peak / GIB:.2f} GiB" if clip.peak else ""]
    parts += [f"profile {clip.profile}, decode chunk {clip.chunk}" if clip.profile else "", clip.note]
    parts += [f"computed from a clip of {made} steps" if made != full else ""]
    parts += ["NOT compiled" if name == "compiled" and not clip.compiled else ""]
    return "; ".join(part for part in parts if part)


def _ratio(what: str, slow: list[float], fast: list[float], **limits: Any) -> Row:
    if not slow or not fast or len(slow) != len(fast):
        return Row(what, None, "x", **limits, note="needs both")
    return Row(what, median_ratio(slow, fast), "x", **limits)


def _over(what: str, seconds: list[float], floor: float | None, **limits: Any) -> Row:
    value = statistics.median(seconds) / floor if seconds and floor else None
    return Row(what, value, "x", **limits, note="" if value else "needs the clip and the floor")


def _extra(bench: Bench) -> Row:
    """What reusing features keeps beside, at the peak of denoising: decoding's would hide it."""
    eager, caching = bench.kept.good("e2e/eager/0"), bench.kept.good("e2e/caching/0")
    peaks = [figure and figure["peak_denoising"] for figure in (eager, caching)]
    value = (peaks[1] - peaks[0]) / GIB if None not in peaks else None
    return Row("caching-3, extra memory", value, "GiB", at_most=0.4, note="" if value is not None else "no peaks here")


def _compile_seconds(bench: Bench) -> float | None:
    first, warm = bench.kept.good("e2e/compiling"), bench.kept.good("e2e/warm/compiled")
    return first["seconds"] - warm["seconds"] if first and warm else None


def _missing(bench: Bench, name: str) -> str:
    return "" if bench.kept.good(name) is not None else why(bench.kept.measured.get(name))
