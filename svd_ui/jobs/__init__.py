"""Durable work: a request becomes a job, and everybody who looks at it reads the same record.

``service.JobService`` is what the page, the command line and the API talk to.
This package is torch-free.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..errors import NotFound
from ..events import Result, Stage, Tile
from ..notes import Note, sentence
from ..request import Frozen, GenerationRequest

JobKind = Literal["clip", "still", "download"]


class Job(Frozen):
    """One row as its readers see it. ``step`` / ``total`` belong to the current ``state``.

    ``position`` is 0 for the next in the queue, None when not queued; ``eta_seconds`` comes from measured
    step times. Files are reached through ``JobService.file`` only.

    ``name`` is what the picture's file is called: its owner's alone, so it stands in no request, file or answer.
    Jobs of one ``batch`` were asked for together; '' for a job asked for alone.
    """

    id: str
    owner: str
    name: str = ""
    batch: str = ""
    kind: JobKind = "clip"
    state: Stage
    request: GenerationRequest
    step: int | None = None
    total: int | None = None
    position: int | None = None
    eta_seconds: float | None = None
    message: str = ""
    error: dict[str, Any] | None = None
    result: Result | None = None
    notes: tuple[Note, ...] = ()
    has_preview: bool = False
    preview_frames: int = 1
    created: float
    started: float | None = None
    ended: float | None = None

    @property
    def known_request(self) -> GenerationRequest:
        """The resolved request once it is known, until then the one that was asked for."""
        return self.result.request if self.result else self.request


Files = Callable[[Job, str], Path | None]
"""``JobService.file``: which of a job's files are there."""


def status(job: Job, files: Files, place: tuple[int, int] | None = None) -> dict[str, Any]:
    """What the public API answers and ``--json`` prints.

    ``{id, state, step, total, position, eta_seconds, message, notes, error, preview, preview_frames, video, request}``:
    ``notes`` are sentences on how it went, ``error`` is ``{code, message}`` or None. ``preview``, a JPEG of that many
    frames one below the other (the poster once finished), and ``video`` are paths on this machine, or None: whoever
    answers a client over the network turns them into files to download. ``request`` is the resolved one once it is known. A draft wall has ``tiles`` too: ``{seed,
    motion_bucket_id, video}`` each, row by row. With its ``place`` among the clips that were asked for together it has
    ``batch``, ``{id, place, total}``.
    """
    plain = {"id", "state", "step", "total", "position", "eta_seconds", "message"}
    error, finished = job.error, job.state == "finished"
    shown = {
        **job.model_dump(include=plain),
        "notes": [sentence(note) for note in job.notes],
        "error": None if error is None else {"code": error.get("code"), "message": error.get("message")},
        "preview": files(job, "poster" if finished else "preview"),
        "preview_frames": 1 if finished else job.preview_frames,
        "video": files(job, "video"),
        "request": job.known_request.model_dump(mode="json"),
    }
    if place is not None:
        shown["batch"] = {"id": job.batch, "place": place[0], "total": place[1]}
    if job.request.wall:
        tiles = enumerate(job.result.tiles if job.result else ())
        shown["tiles"] = [{**tile.model_dump(mode="json"), "video": files(job, file_of(at))} for at, tile in tiles]
    return shown


FILES = frozenset({"video", "poster", "frames", "animation", "latents"})
_TILE = re.compile(r"tile-(\d{1,3})", re.ASCII)


def file_of(index: int) -> str:
    """The name under which ``JobService.file`` knows the tile of this index."""
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
