"""The runs as HTML: how each stands, its loss, its samples, what can be done with it. Pure functions of its files."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import quote

from ...finetune import TrainRequest
from ...finetune.runs import RunFolder, TrainingRun
from .. import formatting, icons
from . import curve

EVENTS_JS = "svdui.runs(element, trigger, watch)  /* 'stop' 'resume' 'remove' 'use' */"
MAX_SAMPLES = 8
STATES = {
    "preparing": "Getting ready",
    "training": "Training",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
}


def render(runs: list[TrainingRun], folder: Callable[[str], RunFolder], usable: Callable[[TrainingRun], str]) -> str:
    """``usable`` names what a finished run gave, as the Animate side knows it; '' where it is not there."""
    if not runs:
        return ""
    cards = "".join(_card(run, folder(run.name), usable(run)) for run in runs)
    return f'<section class="runs" aria-label="Training runs"><header><h2>Training runs</h2></header>{cards}</section>'


def samples(folder: RunFolder) -> list[tuple[int, Path]]:
    """(step, file), oldest first."""
    found = ((path.stem.partition("-")[2], path) for path in folder.samples.glob("step-*.mp4"))
    return sorted((int(step), path) for step, path in found if step.isdecimal())


def sample_url(run: str, step: int, version: int) -> str:
    """``version`` tells a clip from an earlier one of the same name."""
    return f"svd/run/{quote(run)}/{step}?v={version}"


def _card(run: TrainingRun, folder: RunFolder, result: str) -> str:
    status, name = run.status, escape(run.name)
    badge = f'<span class="state {status.state}">{STATES[status.state]}</span>'
    said = status.message if status.state in {"preparing", "stopped", "failed"} else ""
    if run.alive and folder.asked_to_stop:
        said = "Stopping after this step; its state is saved."
    tell = f'<p class="{"trouble" if status.state == "failed" else "quiet"}">{escape(said)}</p>' if said else ""
    return (
        f'<article class="stage run" aria-label="{name}"><header><h3>{name}</h3>{badge}</header>'
        f'<p class="quiet">{escape(_about(run.request))}</p>{_bar(run)}{tell}{curve.render(folder.lines())}'
        f"{_samples(run.name, folder)}{_result(run, result)}{_acts(run, result)}</article>"
    )


def _about(request: TrainRequest | None) -> str:
    """``nano · LoRA, temporal, rank 16 · my clips``."""
    if request is None:
        return ""
    what = f"LoRA, {request.targets}, rank {request.rank}" if request.method == "lora" else f"{request.method} training"
    size = formatting.frame_size(request.width, request.height)
    return " · ".join(part for part in (request.checkpoint, what, size, request.data.name) if part)


def _bar(run: TrainingRun) -> str:
    status = run.status
    if not run.alive and not status.step:
        return ""
    share = status.step / status.steps if status.steps else 0.0
    vague = run.alive and status.state == "preparing"
    parts = [f"step {status.step} of {status.steps}" if status.step else "", formatting.left(status.seconds_left)]
    line = " · ".join(part for part in parts if part)
    now = "" if vague else f'aria-valuenow="{share * 100:.0f}"'
    return (
        f'<div class="bar{" vague" if vague else ""}" role="progressbar" aria-label="{STATES[status.state]}" aria-valuemin="0" '
        f'aria-valuemax="100" {now}><i style="width:{100.0 if vague else share * 100:.1f}%"></i></div>'
        f'<p class="count">{escape(line)}</p>'
    )


def _samples(run: str, folder: RunFolder) -> str:
    cells = "".join(
        f'<figure class="tile"><video src="{sample_url(run, step, path.stat().st_mtime_ns)}" muted loop playsinline '
        f'preload="none" aria-label="Sample at step {step}"></video><figcaption>step {step}</figcaption></figure>'
        for step, path in samples(folder)[-MAX_SAMPLES:]
    )
    return f'<div class="samples">{cells}</div>' if cells else ""


def _result(run: TrainingRun, result: str) -> str:
    if run.status.state != "finished":
        return ""
    kind = "LoRA" if run.request is None or run.request.method == "lora" else "checkpoint"
    if not result:
        return f'<p class="quiet">Its {kind} {escape(run.status.result)} is not in the models folder.</p>'
    return f'<p class="quiet">It is among the {kind}s now.</p>'


def _acts(run: TrainingRun, result: str) -> str:
    name, state = escape(run.name), run.status.state
    delete = (
        f'<button type="button" class="btn ghost" data-act="remove" data-id="{name}" data-confirm="Delete for good?">'
        f"{icons.BIN}Delete</button>"
    )
    if run.alive:
        return f'<div class="acts"><button type="button" class="btn" data-act="stop" data-id="{name}">{icons.STOP}Stop</button></div>'
    if state == "finished":
        use = (
            f'<button type="button" class="btn strong" data-act="use" data-id="{name}">Try it</button>'
            if result
            else ""
        )
        return f'<div class="acts">{use}{delete}</div>'
    text = "Go on" if run.status.step else "Start again"
    go = f'<button type="button" class="btn strong" data-act="resume" data-id="{name}">{text}</button>'
    return f'<div class="acts">{go if run.request else ""}{delete}</div>'
