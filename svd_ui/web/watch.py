"""The right side: one job, live or ended, as HTML. Pure functions of the record; the page morphs what changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from html import escape
from pathlib import Path

from ..engine import Device
from ..events import ENDED
from ..jobs import Job
from . import icons, words
from .report import error_report, settings_json

EVENTS_JS = "svdui.mount('stage', element, trigger, watch, props)"
EVENTS = ("stop", "retry", "reuse", "reseed", "restore", "fetch")

Files = Callable[[Job, str], Path | None]


def render(job: Job | None, files: Files, device: Device | None = None, waiting: int = 0) -> str:
    """The stage. ``files`` is ``Jobs.file``; ``waiting`` counts the visitor's other unfinished jobs."""
    if job is None:
        return _wrap(None, _empty(), "empty")
    if job.state not in ENDED:
        return _wrap(job, _running(job, files, waiting), "running")
    if job.state == "finished" and job.result is not None:
        return _wrap(job, _finished(job, files), "finished")
    if job.state == "finished" and job.kind == "download":
        return _wrap(job, _downloaded(job), "downloaded")
    if job.state in {"finished", "cancelled"}:
        return _wrap(job, _stopped(job), "stopped")
    return _wrap(job, _failed(job, device), "failed")


def _wrap(job: Job | None, body: str, kind: str) -> str:
    data = f'data-title="{escape(words.title(job))}"'
    if job is not None:
        data += f' data-job="{escape(job.id)}" data-state="{job.state}" data-say="{escape(_announcement(job))}"'
    return f'<section class="stage stage-{kind}" aria-label="Result" {data}>{body}</section>'


def _announcement(job: Job) -> str:
    """For screen readers: once per stage, never per step."""
    return f"{words.STATES[job.state]}. {(job.error or {}).get('message', '')}".strip()


def _aspect(job: Job) -> str:
    request = job.result.request if job.result else job.request
    width, height = request.width or 16, request.height or 9
    return f"--w:{width};--h:{height}"


def _empty() -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.CLIP}'
        "<h2>Your clip appears here</h2>"
        "<p>Choose a picture, or describe one, then press <b>Animate</b>. "
        "You can watch it take shape and close the page meanwhile: nothing is lost.</p></div></div>"
    )


def _running(job: Job, files: Files, waiting: int) -> str:
    done = words.fraction(job) if job.state != "queued" else None
    stage = words.STATES[job.state]
    count = f"step {job.step} of {job.total}" if job.state in {"denoising", "making_still"} and job.total else ""
    if job.state == "decoding" and job.total:
        count = f"frame {job.step} of {job.total}"
    if job.state == "downloading":
        count = job.message
    if job.state == "queued":
        count = words.queue_place(job.position)
    line = " · ".join(escape(part) for part in (count, words.left(job.eta_seconds)) if part)
    bar = f'aria-valuenow="{done * 100:.0f}"' if done is not None else ""
    width = f"{done * 100:.1f}%" if done is not None else "100%"
    kind = "" if done is not None else " vague"
    more = f'<p class="more">{waiting} more waiting</p>' if waiting else ""
    return (
        f'<div class="frame" style="{_aspect(job)}">{_picture(job, files)}</div>'
        f'<div class="bar{kind}" role="progressbar" aria-label="{stage}" aria-valuemin="0" aria-valuemax="100" {bar}>'
        f'<i style="width:{width}"></i></div>'
        f'<div class="line"><div><b>{stage}</b><span class="count">{line}</span></div>'
        '<button type="button" class="btn" data-act="stop" title="Stop (Esc)">'
        f"{icons.STOP}Stop <kbd>Esc</kbd></button></div>{_notes(job)}{more}"
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


def still_url(ref: str, width: int, height: int, x: float, y: float) -> str:
    """Address of a still exactly as the model sees it (files.py serves it)."""
    return f"svd/still/{ref.removeprefix('sha256:')}?w={width}&amp;h={height}&amp;x={x:.4f}&amp;y={y:.4f}"


def clip_url(job: Job, name: str, download: bool = False) -> str:
    return f"svd/job/{job.id}/{name}" + ("?download=1" if download else "")


def _finished(job: Job, files: Files) -> str:
    if files(job, "video") is None:
        return _still(job, files)
    poster = f' poster="{clip_url(job, "poster")}"' if files(job, "poster") else ""
    video = (
        f'<video class="clip" src="{clip_url(job, "video")}"{poster} loop muted playsinline controls '
        'preload="auto" aria-label="The finished clip"></video>'
    )
    return f'<div class="frame" style="{_aspect(job)}">{video}</div>{_facts(job)}{_actions(job, files)}{_notes(job)}'


def _still(job: Job, files: Files) -> str:
    assert job.result is not None
    image = f'<img class="live" alt="The finished still" src="svd/still/{job.result.image.removeprefix("sha256:")}">'
    return (
        f'<div class="frame" style="{_aspect(job)}">{image}</div>{_facts(job)}'
        '<div class="acts"><button type="button" class="btn" data-act="reuse">Animate this still</button>'
        f"{_common_actions(job)}</div>{_notes(job)}"
    )


def _facts(job: Job) -> str:
    """One quiet line about what this is."""
    assert job.result is not None
    request, seconds = job.result.request, _seconds(job.result.seconds)
    length = f"{request.num_frames} frames" if request.num_frames and job.result.video else ""
    if length and request.num_frames and request.output_fps:
        length += f", {request.num_frames / request.output_fps:.1f} s"
    took = f"made in {words.duration(seconds)}" if seconds >= 1 else ""
    parts = [request.checkpoint, words.frame_size(request.width, request.height), length, f"seed {request.seed}", took]
    prompt = f'<p class="prompt">“{escape(request.prompt)}”</p>' if request.prompt else ""
    return prompt + '<p class="facts">' + "".join(f"<span>{escape(p)}</span>" for p in parts if p) + "</p>"


def _seconds(spent: dict[str, float]) -> float:
    """What the whole clip took; stages that report no total are added up."""
    return spent["total"] if "total" in spent else sum(spent.values())


def _actions(job: Job, files: Files) -> str:
    extra = "".join(
        f'<a class="btn" href="{clip_url(job, name, download=True)}" download>{title}</a>'
        for name, title in (("animation", "Animated picture"), ("frames", "Frames (zip)"))
        if files(job, name)
    )
    last = job.result is not None and job.result.last_frame
    reuse = '<button type="button" class="btn" data-act="reuse">Use last frame</button>' if last else ""
    return (
        f'<div class="acts"><a class="btn strong" href="{clip_url(job, "video", download=True)}" download>'
        f"{icons.DOWNLOAD}Download</a>{extra}{reuse}"
        '<button type="button" class="btn" data-act="reseed">New seed</button>'
        f"{_common_actions(job)}</div>"
    )


def _common_actions(job: Job) -> str:
    return (
        '<div class="acts minor">'
        f'<button type="button" class="btn ghost" data-copy="{escape(settings_json(job))}" data-done="Settings copied">'
        "Copy settings</button>"
        '<button type="button" class="btn ghost" data-act="restore">Restore settings</button>'
        '<button type="button" class="btn ghost" data-link="1" data-done="Link copied">Copy link</button></div>'
    )


def _notes(job: Job) -> str:
    notes = [*job.notes, *(job.result.notes if job.result else ())]
    unique = list(dict.fromkeys(note for note in notes if note))
    if not unique:
        return ""
    return '<ul class="notes">' + "".join(f"<li>{escape(note)}</li>" for note in unique) + "</ul>"


def _downloaded(job: Job) -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.DOWNLOADED}<h2>Download complete</h2>'
        f"<p>{escape(job.request.checkpoint)} is on this machine now: press <b>Animate</b>.</p></div></div>"
    )


def _stopped(job: Job) -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.STOPPED}<h2>Stopped</h2>'
        f"<p>{STOPPED_DOWNLOAD if job.kind == 'download' else STOPPED_CLIP}</p>"
        '<div class="acts"><button type="button" class="btn strong" data-act="retry">Run it again</button>'
        '<button type="button" class="btn" data-act="restore">Restore settings</button></div></div></div>'
    )


STOPPED_CLIP = "Nothing was kept of this one. Its settings are still here."
STOPPED_DOWNLOAD = "What has arrived is kept: the download goes on from there."
REMEDIES = {
    "out_of_memory": "A smaller memory profile, fewer frames or a smaller decode chunk (all under Advanced) need less.",
    "interrupted": "",
}
HEADLINES = {
    "weights_missing": "The model is not here yet",
    "hub_refused": "The model asks for permission",
    "hub_offline": "The model hub cannot be reached",
    "disk_too_small": "Not enough disk space",
    "disk_full": "The disk is full",
    "out_of_memory": "Out of memory",
    "worker_stopped": "The worker stopped",
    "interrupted": "Interrupted",
    "bad_picture": "This picture does not work",
    "bad_input": "These settings do not work",
}


def _failed(job: Job, device: Device | None) -> str:
    error = job.error or {"code": job.state, "message": job.message or words.STATES[job.state]}
    code = str(error.get("code", "unexpected"))
    message = escape(str(error.get("message", "")))
    hint = f"<p>{REMEDIES[code]}</p>" if REMEDIES.get(code) else ""
    link = str((error.get("params") or {}).get("url") or "")
    page = (
        f'<a class="btn" href="{escape(link)}" target="_blank" rel="noopener">Open its page</a>'
        if link.startswith("https://")
        else ""
    )
    return (
        f'<div class="card-error" role="alert">{icons.WARNING}<div><h2>{HEADLINES.get(code, "This clip failed")}</h2>'
        f"<p>{message}</p>{hint}"
        '<div class="acts"><button type="button" class="btn strong" data-act="retry">Try again</button>'
        f'{page}<button type="button" class="btn" data-act="restore">Restore settings</button>'
        f'<button type="button" class="btn" data-copy="{escape(error_report(job, device))}" data-done="Report copied">'
        f"Copy report</button></div></div></div>{_notes(job)}"
    )


def state_of(job: Job | None) -> str:
    """What a watcher compares to know whether anything visible changed."""
    if job is None:
        return ""
    return json.dumps([job.id, job.state, job.step, job.position, job.message, job.has_preview])
