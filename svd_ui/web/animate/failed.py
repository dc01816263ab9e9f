"""A job that ended without a result: stopped, or failed with a card that says what to do."""

from __future__ import annotations

from html import escape

from ...engine import Device
from ...jobs import Job
from .. import formatting, icons
from ..visitor import error_report, said
from .result import notes


def stopped(job: Job) -> str:
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


def card(job: Job, device: Device | None, remote: bool = False) -> str:
    """What went wrong and what to do; a ``remote`` visitor is not told where the server keeps its files."""
    error = job.error or {"code": job.state, "message": job.message or formatting.STATES[job.state]}
    code = str(error.get("code", "unexpected"))
    message = escape(said(error, remote))
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
        f"Copy report</button></div></div></div>{notes(job)}"
    )
