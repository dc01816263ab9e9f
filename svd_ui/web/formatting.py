"""Records as people read them: words, numbers, addresses and the page's HTML.

HTML comes from Jinja2 templates, which escape whatever a view hands them; a view turns a record into the facts to show.
"""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

from ..engine import Device
from ..events import ENDED
from ..jobs import Job
from ..notes import WORDS
from ..request import GenerationRequest
from ..settings import Settings

STATES: dict[str, str] = WORDS["states"]
MB = 1_000_000
NBSP = "\u00a0"


def memory(count: float | None) -> str:
    """Device memory in GiB, as its makers count it."""
    return "" if count is None else f"{count / 2**30:.0f} GB"


def memory_needed(peak: float | None, device: Device | None, space: str = " ") -> str:
    """``6.9 of 8 GB VRAM``, ``space`` before the unit; '' where either is not known."""
    if peak is None or device is None:
        return ""
    total = f" of {memory(device.total_bytes)}" if device.total_bytes else " GB"
    return f"{gigabytes(peak)}{total}".replace(" GB", f"{space}GB") + (" memory" if device.kind == "cpu" else " VRAM")


def gigabytes(count: float) -> str:
    """The figure alone, to a tenth: ``6.9``; at least 0.1."""
    return f"{max(0.1, count / 2**30):.1f}"


def duration(seconds: float) -> str:
    """``8 s``, ``2 min 5 s``, ``1 h 10 min``, ``2 days 3 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def roughly(seconds: float) -> str:
    """As people say it, in one unit: ``40 s``, ``5 min``, ``3 hours``, ``2 days``."""
    for limit, unit, name in ((100.0, 1, "s"), (90 * 60.0, 60, "min"), (36 * 3600.0, 3600, "hours")):
        if seconds < limit:
            return f"{max(1, round(seconds / unit))} {name}"
    return f"{round(seconds / 86400)} days"


def kept_for(settings: Settings) -> str:
    """How long clips are kept, or blank where they are for ever."""
    days, most = settings.keep_days, settings.keep_gb
    if not days:
        return f"The newest {most:g} GB of clips are kept." if most else ""
    return f"Clips are kept for {days:g} {'day' if days == 1 else 'days'}{f', at most {most:g} GB of them' if most else ''}."


def left(seconds: float | None) -> str:
    """What an ETA is called on the page."""
    return "" if seconds is None else "almost done" if seconds < 1.5 else f"about {duration(seconds)} left"


def ago(when: float) -> str:
    """How long ago, roughly."""
    seconds = max(0.0, time.time() - when)
    if seconds < 60:
        return "just now"
    for limit, unit, name in ((3600, 60, "min"), (86400, 3600, "h"), (7 * 86400, 86400, "d")):
        if seconds < limit:
            return f"{int(seconds // unit)} {name} ago"
    return time.strftime("%-d %b %Y", time.localtime(when)) if hasattr(time, "tzset") else time.strftime("%d %b %Y")


def fraction(job: Job) -> float | None:
    """Share of the current stage that is done, 0..1; None while it cannot be told."""
    if job.state == "finished":
        return 1.0
    if job.step is None or not job.total:
        return None
    return min(1.0, max(0.0, job.step / job.total))


def of_batch(place: tuple[int, int] | None) -> str:
    """``3 of 10``; '' for what was asked for alone."""
    return "" if place is None else f"{place[0]} of {place[1]}"


def title(job: Job | None, place: tuple[int, int] | None = None, waits: str = "") -> str:
    """The browser tab's title; ``place`` is that of ``job`` among those that are made together, ``waits`` what is said of one
    that waits.
    """
    name = "SVD UI"
    if job is None:
        return name
    if job.state in ENDED:
        mark = {"finished": "✓ Ready", "failed": "✕ Failed"}.get(job.state, STATES[job.state])
        return f"{mark} · {name}"
    done = fraction(job)
    percent = f"{done:.0%} " if done is not None and job.state != "queued" else ""
    together = f"{of_batch(place)} · " if place else ""
    stage = waits if waits and job.state == "queued" else STATES[job.state]
    return f"{together}{percent}{stage} · {name}"


def headline(job: Job) -> str:
    """What a job is called in lists: its prompt, the file its picture came from, or what it is."""
    name = (job.request.prompt or "").strip() or job.name
    if name:
        return name if len(name) <= 60 else name[:59] + "…"
    return "Picture" if job.kind == "still" else "Wall" if job.request.wall else "Clip"


def kind_of(job: Job) -> str:
    """``Wall 3 × 3``, ``Picture``, or nothing for a clip."""
    wall = job.request.wall
    return f"Wall {wall.seeds} × {len(wall.motion_bucket_ids)}" if wall else "Picture" if job.kind == "still" else ""


def motions(request: GenerationRequest) -> str:
    """The motion of a clip, or those of a wall: ``40, 127``."""
    return ", ".join(map(str, request.wall.motion_bucket_ids if request.wall else [request.motion_bucket_id]))


def queue_place(position: int | None) -> str:
    """Where in the queue."""
    if position is None:
        return ""
    return f"{position} ahead in the queue" if position else "next in line"


def frame_size(width: int | None, height: int | None) -> str:
    return f"{width} × {height}" if width and height else ""


def still_url(ref: str, width: int, height: int, x: float, y: float) -> str:
    """A still exactly as the model sees it."""
    return f"svd/still/{ref.removeprefix('sha256:')}?w={width}&h={height}&x={x:.4f}&y={y:.4f}"


def still_thumb(ref: str) -> str:
    """A still as it was given, small."""
    return f"svd/still/{ref.removeprefix('sha256:')}"


def frame_url(path: str) -> str:
    """A frame of an uploaded clip, small; ``at`` is to be added."""
    return "svd/frame?" + urlencode({"path": path})


def preview_url(job: Job) -> str:
    """What forms, as of the step that the job has come to."""
    return f"svd/job/{job.id}/preview?step={job.step or 0}"


def clip_url(job: Job, name: str, download: bool = False) -> str:
    """A file of a job's result, by the name ``JobService.file`` knows."""
    return f"svd/job/{job.id}/{name}" + ("?download=1" if download else "")


# Templates

FOLDER = Path(__file__).parent / "templates"


class OneLine(Extension):
    """Line breaks of a template are for its readers: beside a tag they vanish, within a sentence they are a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        source = re.sub(r"(?<=[>}])\s*\n\s*|\s*\n\s*(?=[<{])", "", source)
        return re.sub(r"\s*\n\s*", " ", source)


@cache
def environment() -> Environment:
    """The one environment: a name that a view forgot is an error, a template is read and compiled once."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        extensions=[OneLine],
    )
    made.globals |= {
        call.__name__: call for call in (ago, clip_url, duration, frame_size, headline, kind_of, motions, still_thumb)
    }
    made.globals |= {"STATES": STATES, "ENDED": ENDED, "icons": made.get_template("icons.html").module}
    return made


def html(template: str, **facts: Any) -> str:
    """``templates/<template>.html`` with ``facts``."""
    return environment().get_template(f"{template}.html").render(facts)


def notice(text: str, good: bool = False) -> str:
    """The line above a form's button; '' clears it."""
    return html("notice", text=text, good=good)
