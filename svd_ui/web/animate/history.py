"""Below: what was made before, with posters. Pure functions of the records."""

from __future__ import annotations

from typing import Any

from ...events import ENDED
from ...jobs import Job
from ..formatting import STATES, Files, ago, clip_url, headline, html, still_thumb
from .stage import badge

PAGE = 24
"""Jobs at first, and again at every "Show older"."""


def history(jobs: list[Job], files: Files, shown: str | None, undo: str | None, more: bool = False) -> str:
    """``shown`` is the job on the stage; ``undo`` the one just deleted; ``more`` whether older ones exist."""
    cards = [card(job, files, job.id == shown) for job in jobs]
    return html("animate/history", cards=cards, undo=undo, more=more)


def card(job: Job, files: Files, shown: bool) -> dict[str, Any]:
    """One job of the list; its clip plays while the pointer rests on its poster."""
    finished = job.state == "finished"
    what = "Still" if job.kind == "still" else badge(job.request.wall) if job.request.wall else ""
    return {
        "id": job.id,
        "name": headline(job),
        "state": job.state,
        "state_text": STATES[job.state],
        "ended": job.state in ENDED,
        "shown": shown,
        "wall": job.request.wall is not None,
        "what": what,
        "badge": what if finished else STATES[job.state],
        "ago": ago(job.created),
        "meta": _meta(job),
        "play": clip_url(job, "video") if finished and files(job, "video") else "",
        "poster": clip_url(job, "poster") if files(job, "poster") else "",
        "still": still_thumb(job.request.image) if job.request.image else "",
    }


def _meta(job: Job) -> str:
    """When, with which checkpoint, how lively."""
    request = job.result.request if job.result else job.request
    motions = request.wall.motion_bucket_ids if request.wall else (request.motion_bucket_id,)
    motion = f"motion {', '.join(map(str, motions))}"
    return " · ".join(part for part in (ago(job.created), request.checkpoint, motion) if part)
