"""The status object: what the public API answers and ``--json`` prints."""

from __future__ import annotations

import re
from typing import Any

from ..errors import NotFound
from ..events import Tile
from ..request import GenerationRequest
from ..sentences import sentence
from . import Job, Jobs


def status(job: Job, jobs: Jobs) -> dict[str, Any]:
    """``{id, state, step, total, position, eta_seconds, message, notes, error, preview, video, request}``.

    ``notes`` are sentences on how it went, ``error`` is ``{code, message}`` or None. ``preview`` (the poster once finished) and ``video`` are paths on this machine,
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
        "notes": [sentence(note) for note in job.notes],
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


FILES = frozenset({"video", "poster", "frames", "animation", "latents"})
_TILE = re.compile(r"tile-(\d{1,3})", re.ASCII)


def file_of(index: int) -> str:
    """The name under which ``Jobs.file`` knows the tile of this index."""
    return f"tile-{index}"


def tile_of(job: Job, name: str) -> Tile | None:
    """The tile that ``tile-<index>`` names; None where the result has none such."""
    found = _TILE.fullmatch(name)
    index, tiles = int(found[1]) if found else -1, job.result.tiles if job.result else ()
    return tiles[index] if 0 <= index < len(tiles) else None


def stored_name(job: Job, name: str) -> str | None:
    """What the result calls the file ``name``; None for a name that means nothing."""
    tile = tile_of(job, name)
    if tile is not None:
        return tile.video
    stored: str | None = getattr(job.result, name, None) if name in FILES else None
    return stored


def in_full(job: Job, index: int) -> GenerationRequest:
    """The ordinary request that renders tile ``index`` of a finished wall exactly: its seed, motion, still and checkpoint.

    Everything else is as it was asked for, so blanks that the draft filled in are blank again. Raises NotFound.
    """
    tile = tile_of(job, file_of(index))
    if tile is None or job.result is None:
        raise NotFound(what="tile")
    made = {"image": job.result.image, "prompt": None, "negative_prompt": None}
    same = {"checkpoint": job.result.request.checkpoint, "speed": "exact"}
    return job.request.tile(tile.seed, tile.motion_bucket_id).model_copy(update={**made, **same})
