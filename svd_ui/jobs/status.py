"""The status object: what the public API answers and ``--json`` prints."""

from __future__ import annotations

from typing import Any

from . import Job, Jobs
from .tiles import file_of


def status(job: Job, jobs: Jobs) -> dict[str, Any]:
    """``{id, state, step, total, position, eta_seconds, message, error, preview, video, request}``.

    ``error`` is ``{code, message}`` or None. ``preview`` (the poster once finished) and ``video`` are paths on this machine,
    or None: whoever answers a client over the network turns them into files to download. ``request`` is the
    resolved one once it is known. A draft wall has ``tiles`` too: ``{seed, motion_bucket_id, video}`` each, row by row.
    """
    finished = job.state == "finished"
    error = job.error
    return {
        "id": job.id,
        "state": job.state,
        "step": job.step,
        "total": job.total,
        "position": job.position,
        "eta_seconds": job.eta_seconds,
        "message": job.message,
        "error": None if error is None else {"code": error.get("code"), "message": error.get("message")},
        "preview": jobs.file(job, "poster" if finished else "preview"),
        "video": jobs.file(job, "video"),
        "request": (job.result.request if job.result else job.request).model_dump(mode="json"),
        **({"tiles": _tiles(job, jobs)} if job.request.wall else {}),
    }


def _tiles(job: Job, jobs: Jobs) -> list[dict[str, Any]]:
    made = job.result.tiles if job.result else ()
    return [
        {**tile.model_dump(mode="json"), "video": jobs.file(job, file_of(index))} for index, tile in enumerate(made)
    ]
