"""A finished job on the stage: the clip, the still or the wall; what it is, how it was made, what can be done with it."""

from __future__ import annotations

from html import escape

from ...events import Effective
from ...jobs import Job
from ...notes import Note
from ...sentences import sentence
from .. import formatting, icons
from ..formatting import Files, clip_url, still_thumb
from ..visitor import settings_json
from . import wall


def aspect(job: Job) -> str:
    """The shape of what a job makes, as CSS: a clip's, or that of all tiles of its wall."""
    request = job.result.request if job.result else job.request
    width, height = request.width or 16, request.height or 9
    if request.wall:
        width, height = width * len(request.wall.motion_bucket_ids), height * request.wall.seeds
    return f"--w:{width};--h:{height}"


def finished(job: Job, files: Files, origin: str | None = None) -> str:
    """``origin`` is the id of the wall it was chosen from."""
    if job.result is not None and job.result.tiles:
        return _wall(job, files)
    if files(job, "video") is None:
        return _still(job, files)
    poster = f' poster="{clip_url(job, "poster")}"' if files(job, "poster") else ""
    video = (
        f'<video class="clip" src="{clip_url(job, "video")}"{poster} loop muted playsinline controls '
        'preload="auto" aria-label="The finished clip"></video>'
    )
    return (
        f'<div class="frame" style="{aspect(job)}">{video}</div>{_facts(job)}{_actions(job, files, origin)}{notes(job)}'
    )


def _wall(job: Job, files: Files) -> str:
    return (
        f'{wall.tiles(job, files)}<p class="quiet wall-help">Choose a tile to render it in full, with the same seed and motion.</p>'
        f'{_facts(job)}<div class="acts"><button type="button" class="btn" data-act="reseed">New seeds</button>'
        f"{_common_actions(job)}</div>{notes(job)}"
    )


def _still(job: Job, files: Files) -> str:
    assert job.result is not None
    image = f'<img class="live" alt="The finished still" src="{still_thumb(job.result.image)}">'
    return (
        f'<div class="frame" style="{aspect(job)}">{image}</div>{_facts(job)}'
        '<div class="acts"><button type="button" class="btn" data-act="reuse">Animate this still</button>'
        f"{_common_actions(job)}</div>{notes(job)}"
    )


def _facts(job: Job) -> str:
    """One quiet line about what this is."""
    assert job.result is not None
    request, seconds = job.result.request, _seconds(job.result.seconds)
    length = f"{request.num_frames} frames" if request.num_frames and job.result.video else ""
    if length and request.num_frames and request.output_fps:
        length += f", {request.num_frames / request.output_fps:.1f} s"
    took = f"made in {formatting.duration(seconds)}" if seconds >= 1 else ""
    count = len(job.result.tiles)
    what = [f"{count} tiles"] if count else [formatting.frame_size(request.width, request.height), length]
    speed = "" if request.speed == "exact" else request.speed
    parts = [request.checkpoint, *what, f"seed {request.seed}", speed, took]
    prompt = f'<p class="prompt">“{escape(request.prompt)}”</p>' if request.prompt else ""
    made = _effective(job.result.effective) if job.result.effective else ""
    return f'{prompt}<p class="facts">{_spans(parts)}</p>{made}{_approximate(job)}'


def _spans(parts: list[str]) -> str:
    return "".join(f"<span>{escape(part)}</span>" for part in parts if part)


def _effective(used: Effective) -> str:
    """What it was really made with; the reasons as a tooltip."""
    parts = [
        f"profile {used.profile}",
        "exact speed-ups" if used.exact else "plain layers",
        "compiled" if used.compiled else "",
        used.attention,
        used.dtype,
    ]
    reasons = "; ".join(map(sentence, used.reasons))
    tip = f' class="facts made tip" tabindex="0" data-tip="{escape(reasons)}"' if reasons else ' class="facts made"'
    return f"<p{tip}>{_spans(parts)}{f'<i class=sr-only>{escape(reasons)}</i>' if reasons else ''}</p>"


def _approximate(job: Job) -> str:
    """What was left out for speed, named where the clip is."""
    said = [Note(code="approximations", params=note.params) for note in _all_notes(job) if note.code == "approximate"]
    return "".join(f'<p class="approximate"><b>Approximate</b> {escape(sentence(note))}</p>' for note in said)


def _seconds(spent: dict[str, float]) -> float:
    """What the whole clip took; stages that report no total are added up."""
    return spent["total"] if "total" in spent else sum(spent.values())


def _actions(job: Job, files: Files, origin: str | None) -> str:
    extra = "".join(
        f'<a class="btn" href="{clip_url(job, name, download=True)}" download>{title}</a>'
        for name, title in (("animation", "Animated picture"), ("frames", "Frames (zip)"))
        if files(job, name)
    )
    last = job.result is not None and job.result.last_frame
    reuse = '<button type="button" class="btn" data-act="reuse">Use last frame</button>' if last else ""
    back = (
        f'<button type="button" class="btn" data-act="view" data-id="{escape(origin)}">{icons.WALL}Back to the wall</button>'
        if origin
        else ""
    )
    return (
        f'<div class="acts"><a class="btn strong" href="{clip_url(job, "video", download=True)}" download>'
        f"{icons.DOWNLOAD}Download</a>{extra}{reuse}"
        f'<button type="button" class="btn" data-act="reseed">New seed</button>{back}'
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


def notes(job: Job) -> str:
    """Everything else that was said on the way, once each."""
    said = [sentence(note) for note in _all_notes(job) if note.code != "approximate"]
    return '<ul class="notes">' + "".join(f"<li>{escape(note)}</li>" for note in said) + "</ul>" if said else ""


def _all_notes(job: Job) -> list[Note]:
    return list(dict.fromkeys((*job.notes, *(job.result.notes if job.result else ()))))
