"""What the Train tab shows: clips, what is in them, what a run will take, the runs. Pure functions of files and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...engine import Device
from ...finetune import TrainRequest
from ...finetune.estimate import Cost
from ...finetune.runs import RunFolder, TrainingRun
from ...notes import WORDS, sentence, size
from ..formatting import MB, NBSP, duration, frame_size, html, left, memory_needed
from .scan_worker import Key, Looked

MAX_SAMPLES = 8
MAX_DROPPED = 60
STATES: dict[str, str] = WORDS["states of training"]


def door(max_mb: int, collection: str, count: int, max_files: int, endings: Iterable[str]) -> str:
    """Where clips come in, and how many there are."""
    limits = {"max_mb": max_mb, "max_files": max_files, "max_size": size(max_mb * MB), "accept": ",".join(endings)}
    return html("train/door", collection=collection, count=count, **limits)


# What is in the clips


def scan(looked: Looked, wanted: Key | None) -> str:
    """``wanted`` is what the form asks for now: an outcome for something else says so."""
    if looked.state == "done" and looked.scan is not None:
        return html("train/scan", state="done", stale=wanted not in (None, looked.key), **_found(looked))
    state = "" if looked.state == "done" else looked.state
    done = min(1.0, max(0, looked.done - 1) / looked.total) if looked.total else 0.0
    return html("train/scan", state=state, done=done, current=looked.current, message=looked.message)


def _found(looked: Looked) -> dict[str, Any]:
    found = looked.scan
    assert found is not None
    bars = histogram(found.histogram)
    return {
        "stretches": _many(len(found.stretches), "training clip"),
        "frames": found.stretches[0].num_frames,
        "sources": _many(found.sources, "file"),
        "scenes": _many(found.scenes, "scene"),
        "collection": looked.collection,
        "left_out": _many(len(found.dropped), "part"),
        "thumbs": looked.thumbs,
        "more": len(found.stretches) - len(looked.thumbs),
        "histogram": bars,
        "histogram_said": ", ".join(f"{b['count']} from {b['low']} to {b['high']}" for b in bars if b["count"]),
        "dropped": [(one.name, sentence(one.reason)) for one in found.dropped],
        "most_dropped": MAX_DROPPED,
    }


def histogram(counts: Sequence[int]) -> list[dict[str, Any]]:
    """Bars over equal ranges of the motion label; ``height`` in percent of the highest, 3 at least where there is any."""
    most, width = max([*counts, 1]), 255 / max(1, len(counts))
    return [
        {
            "low": round(1 + index * width),
            "high": round((index + 1) * width),
            "count": count,
            "height": max(3.0, 100 * count / most) if count else 0.0,
        }
        for index, count in enumerate(counts)
    ]


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"


# What a run will take


def cost(cost: Cost | None, device: Device | None) -> str:
    """``About 12 min, 1.2 of 8 GB memory``, and how many parameters are trained; '' where nothing is known."""
    if cost is None or cost.parameters is None:
        return ""
    needed, too_large = memory_needed(cost.peak_bytes, device, NBSP), ""
    if cost.fits is False:
        too_large = f"This needs about {needed}. Use a LoRA, a lower rank, or smaller or fewer frames."
    time = duration(max(1.0, cost.seconds)) if cost.seconds else ""
    known = ", ".join(part for part in (time, needed) if part)
    return html("train/cost", numbers=_numbers(cost.parameters), too_large=too_large, known=known)


def _numbers(count: int) -> str:
    """``800k``, ``1.5M``."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.3g}M"


# The runs: how each stands, its loss, its samples, what can be done with it


def runs(all_runs: list[TrainingRun], folder: Callable[[str], RunFolder], usable: Callable[[TrainingRun], str]) -> str:
    """``usable`` names what a finished run gave, as the Animate side knows it; '' where it is not there."""
    return html("train/runs", titles=STATES, runs=[run_view(run, folder(run.name), usable(run)) for run in all_runs])


def run_view(run: TrainingRun, folder: RunFolder, usable: str) -> dict[str, Any]:
    """One run. ``done`` is the share of its steps, None while it gets ready."""
    status, request = run.status, run.request
    share = status.step / status.steps if status.steps else 0.0
    steps = f"step {status.step} of {status.steps}" if status.step else ""
    said = status.message if status.state in {"preparing", "stopped", "failed"} else ""
    if run.alive and folder.asked_to_stop:
        said = "Stopping after this step. Progress is saved." if status.state == "training" else "Stopping."
    shown = samples(folder)[-MAX_SAMPLES:]
    return {
        "run": run,
        "about": _about(request),
        "done": None if run.alive and status.state == "preparing" else share,
        "line": " · ".join(part for part in (steps, left(status.seconds_left)) if part),
        "said": said,
        "curve": curve(folder.lines()),
        "samples": [(step, sample_url(run.name, step, path.stat().st_mtime_ns)) for step, path in shown],
        "kind": "LoRA" if request is None or request.method == "lora" else "checkpoint",
        "usable": usable,
    }


def samples(folder: RunFolder) -> list[tuple[int, Path]]:
    """(step, file), oldest first."""
    found = ((path.stem.partition("-")[2], path) for path in folder.samples.glob("step-*.mp4"))
    return sorted((int(step), path) for step, path in found if step.isdecimal())


def sample_url(run: str, step: int, version: int) -> str:
    """``version`` tells a clip from an earlier one of the same name."""
    return f"svd/run/{quote(run)}/{step}?v={version}"


def _about(request: TrainRequest | None) -> str:
    """``nano · LoRA, temporal, rank 16 · my clips``."""
    if request is None:
        return ""
    what = f"LoRA, {request.targets}, rank {request.rank}" if request.method == "lora" else f"{request.method} training"
    shape = frame_size(request.width, request.height)
    return " · ".join(part for part in (request.checkpoint, what, shape, request.data.name) if part)


# The loss over a run's steps, as paths of an inline picture

WIDTH, HEIGHT, EDGE = 600, 120, 4
MAX_POINTS = 300
SMOOTHING = 0.9
"""Share of the running mean that a step keeps, as TensorBoard's dial of that name."""


def curve(lines: Iterable[dict[str, float]]) -> dict[str, Any] | None:
    """None before the second step."""
    pairs = [(line["step"], line["loss"]) for line in lines if "loss" in line and "step" in line]
    if len(pairs) < 2:
        return None
    mean = smoothed([loss for _, loss in pairs])
    points = _thinned(list(zip(pairs, mean, strict=True)))
    raw, smooth = [(s, v) for (s, v), _ in points], [(s, m) for (s, _), m in points]
    low, high = _range([v for _, v in raw], [v for _, v in smooth])
    steps = (points[0][0][0], points[-1][0][0])
    said = f"Loss from {mean[0]:.3g} at step {steps[0]:.0f} to {mean[-1]:.3g} at step {steps[1]:.0f}, smoothed"
    paths = {"raw": _path(raw, steps, low, high), "mean": _path(smooth, steps, low, high)}
    ends = {"first": f"{steps[0]:.0f}", "last": f"{steps[1]:.0f}"}
    return {"width": WIDTH, "height": HEIGHT, "said": said, "now": mean[-1], **paths, **ends}


def smoothed(values: Sequence[float]) -> list[float]:
    """Running means, without the pull towards zero that the first ones would have."""
    kept, weight, found = 0.0, 0.0, []
    for value in values:
        kept = SMOOTHING * kept + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        found.append(kept / weight)
    return found


def _thinned(points: list[tuple[tuple[float, float], float]]) -> list[tuple[tuple[float, float], float]]:
    """At most ``MAX_POINTS``, the last always among them."""
    step = max(1, -(-len(points) // MAX_POINTS))
    return [*points[:-1:step], points[-1]]


def _range(raw: list[float], mean: list[float]) -> tuple[float, float]:
    """Of the picture: single losses are noisy, the highest fiftieth of them may leave it."""
    ordered = sorted(raw)
    low, high = min(*ordered, *mean), max(ordered[-1 - len(ordered) // 50], *mean)
    return low, high if high > low else low + 1e-9


def _path(points: list[tuple[float, float]], steps: tuple[float, float], low: float, high: float) -> str:
    span = max(1.0, steps[1] - steps[0])

    def place(step: float, value: float) -> str:
        y = EDGE + (HEIGHT - 2 * EDGE) * (1 - (min(value, high) - low) / (high - low))
        return f"{WIDTH * (step - steps[0]) / span:.1f} {y:.1f}"

    return "M" + "L".join(place(*point) for point in points)
