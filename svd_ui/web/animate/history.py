"""Below: what was made before, with posters. Pure HTML of the records."""

from __future__ import annotations

from html import escape

from ...events import ENDED
from ...jobs import Job
from .. import formatting, icons
from ..formatting import Files, clip_url, still_thumb
from . import wall

EVENTS_JS = "svdui.mount('history', element, trigger, watch, props)"
EVENTS = ("view", "restore", "remove", "undo", "more")
PAGE = 24


def render(jobs: list[Job], files: Files, shown: str | None, undo: str | None, more: bool = False) -> str:
    """``shown`` is the job on the stage; ``undo`` the one just deleted; ``more`` whether older ones exist."""
    toast = (
        f'<div class="undo" role="status"><span>Deleted.</span><button type="button" class="btn small" data-act="undo" '
        f'data-id="{escape(undo)}">Undo</button></div>'
        if undo
        else ""
    )
    if not jobs and not toast:
        return (
            '<section class="history" aria-label="History"><p class="quiet">Clips you make are kept here.</p></section>'
        )
    cards = "".join(_card(job, files, job.id == shown) for job in jobs)
    button = (
        '<div class="center"><button type="button" class="btn" data-act="more">Show older</button></div>'
        if more
        else ""
    )
    return (
        f'<section class="history" aria-label="History"><header><h2>History</h2>{toast}</header>'
        f'<div class="grid" role="list">{cards}</div>{button}</section>'
    )


def _card(job: Job, files: Files, shown: bool) -> str:
    id = escape(job.id)
    name = escape(formatting.headline(job))
    state = formatting.STATES[job.state]
    finished = job.state == "finished"
    what = "Still" if job.kind == "still" else wall.badge(job.request.wall) if job.request.wall else ""
    text = what if finished else state
    badge = f'<span class="badge{"" if finished else f" {job.state}"}">{text}</span>' if text else ""
    sheet = " sheet" if job.request.wall else ""
    delete = (
        f'<button type="button" class="icon-btn" data-act="remove" data-id="{id}" aria-label="Delete {name}" '
        f'title="Delete">{icons.BIN}</button>'
        if job.state in ENDED
        else ""
    )
    return (
        f'<div class="job{" on" if shown else ""}" role="listitem" data-id="{id}"><button type="button" class="poster{sheet}" '
        f'data-act="view" data-id="{id}" aria-label="View {name}, {f"{what}, " if what else ""}{state}, {formatting.ago(job.created)}"'
        f"{_hover(job, files)}>{_poster(job, files)}{badge}</button>"
        f'<div class="cap"><div><b title="{name}">{name}</b><span>{escape(_meta(job))}</span></div>'
        f'<button type="button" class="icon-btn" data-act="restore" data-id="{id}" aria-label="Restore the settings of '
        f'{name}" title="Restore settings">{icons.RESTORE}</button>{delete}</div></div>'
    )


def _hover(job: Job, files: Files) -> str:
    """The clip plays while the pointer rests on its poster."""
    return f' data-play="{clip_url(job, "video")}"' if job.state == "finished" and files(job, "video") else ""


def _poster(job: Job, files: Files) -> str:
    if files(job, "poster"):
        return f'<img loading="lazy" alt="" src="{clip_url(job, "poster")}">'
    if job.request.image:
        return f'<img class="soft" loading="lazy" alt="" src="{still_thumb(job.request.image)}">'
    return '<span class="blank"></span>'


def _meta(job: Job) -> str:
    request = job.result.request if job.result else job.request
    motions = request.wall.motion_bucket_ids if request.wall else (request.motion_bucket_id,)
    motion = f"motion {', '.join(map(str, motions))}"
    return " · ".join(part for part in (formatting.ago(job.created), request.checkpoint, motion) if part)
