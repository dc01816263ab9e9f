"""The right side: one job, live or ended, as HTML. Pure functions of the record; the page morphs what changed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape

from ...engine import Device
from ...events import ENDED
from ...jobs import Job
from .. import formatting, icons
from ..formatting import Files, still_url
from ..visitor import said
from . import failed, result

EVENTS_JS = "svdui.mount('stage', element, trigger, watch, props)"
EVENTS = ("stop", "retry", "reuse", "reseed", "restore", "fetch", "full", "dials", "view")


@dataclass(frozen=True)
class Around:
    """What the stage must know besides its job. ``waiting`` counts the visitor's other unfinished jobs, ``wall`` is
    the id of the wall that the job renders a tile of, ``training`` the fine-tuning run that has the device, ``remote``
    whether the visitor may not see the server's folders.
    """

    device: Device | None = None
    waiting: int = 0
    wall: str | None = None
    training: str = ""
    remote: bool = False


ALONE = Around()


def render(job: Job | None, files: Files, around: Around = ALONE) -> str:
    """The stage. ``files`` is ``Jobs.file``."""
    if job is None:
        return _wrap(None, _empty(), "empty")
    if job.state not in ENDED:
        return _wrap(job, _running(job, files, around), "running")
    if job.state == "finished" and job.result is not None:
        return _wrap(job, result.finished(job, files, around.wall), "finished")
    if job.state == "finished" and job.kind == "download":
        return _wrap(job, _downloaded(job), "downloaded")
    if job.state in {"finished", "cancelled"}:
        return _wrap(job, failed.stopped(job), "stopped")
    return _wrap(job, failed.card(job, around.device, around.remote), "failed", around.remote)


def _wrap(job: Job | None, body: str, kind: str, remote: bool = False) -> str:
    data = f'data-title="{escape(formatting.title(job))}"'
    if job is not None:
        data += f' data-job="{escape(job.id)}" data-state="{job.state}" data-say="{escape(_announcement(job, remote))}"'
    return f'<section class="stage stage-{kind}" aria-label="Result" {data}>{body}</section>'


def _announcement(job: Job, remote: bool) -> str:
    """For screen readers: once per stage, never per step."""
    return f"{formatting.STATES[job.state]}. {said(job.error, remote) if job.error else ''}".strip()


def _empty() -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.CLIP}'
        "<h2>Your clip appears here</h2>"
        "<p>Choose a picture, or describe one, then press <b>Animate</b>. "
        "You can watch it take shape and close the page meanwhile: nothing is lost.</p></div></div>"
    )


def _running(job: Job, files: Files, around: Around) -> str:
    done = formatting.fraction(job) if job.state != "queued" else None
    stage = formatting.STATES[job.state]
    count = f"step {job.step} of {job.total}" if job.state in {"denoising", "making_still"} and job.total else ""
    if job.state == "decoding" and job.total:
        count = f"frame {job.step} of {job.total}"
    if job.state == "downloading":
        count = job.message
    if job.state == "queued":
        count = formatting.queue_place(job.position)
    if around.training and job.state in {"queued", "loading"}:
        stage, count = "Waiting for the device", f"the training run {around.training} uses it"
    line = " · ".join(escape(part) for part in (count, formatting.left(job.eta_seconds)) if part)
    bar = f'aria-valuenow="{done * 100:.0f}"' if done is not None else ""
    width = f"{done * 100:.1f}%" if done is not None else "100%"
    kind = "" if done is not None else " vague"
    more = f'<p class="more">{around.waiting} more waiting</p>' if around.waiting else ""
    return (
        f'<div class="frame" style="{result.aspect(job)}">{_picture(job, files)}</div>'
        f'<div class="bar{kind}" role="progressbar" aria-label="{stage}" aria-valuemin="0" aria-valuemax="100" {bar}>'
        f'<i style="width:{width}"></i></div>'
        f'<div class="line"><div><b>{stage}</b><span class="count">{line}</span></div>'
        '<button type="button" class="btn" data-act="stop" title="Stop (Esc)">'
        f"{icons.STOP}Stop <kbd>Esc</kbd></button></div>{result.notes(job)}{more}"
    )


def _picture(job: Job, files: Files) -> str:
    """The latest preview; before the first one, the still as the model sees it, out of focus."""
    preview = files(job, "preview") if job.has_preview else None
    if preview is not None:
        try:
            data = base64.b64encode(preview.read_bytes()).decode()
        except OSError:
            data = ""
        if data:
            return f'<img class="live" alt="Preview of the clip so far" src="data:image/jpeg;base64,{data}">'
    request = job.request
    if request.image and request.width and request.height:
        return f'<img class="live soft" alt="" src="{still_url(request.image, request.width, request.height, request.focus_x, request.focus_y)}">'
    return '<div class="shimmer"></div>'


def _downloaded(job: Job) -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.DOWNLOADED}<h2>Download complete</h2>'
        f"<p>{escape(job.request.checkpoint)} is on this machine now: press <b>Animate</b>.</p></div></div>"
    )


def state_of(job: Job | None) -> str:
    """What a watcher compares to know whether anything visible changed."""
    if job is None:
        return ""
    return json.dumps([job.id, job.state, job.step, job.position, job.message, job.has_preview])
